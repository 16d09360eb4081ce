"""Bronze: Kafka to Hudi, one multi-asset of which any part can be materialized."""

import json
from collections.abc import Iterator
from functools import partial

import dagster as dg

from crypto_pipeline.assets import specs
from crypto_pipeline.bronze import expired, quarantine
from crypto_pipeline.bronze.common import CANNOT_BE_PARSED
from crypto_pipeline.conflicts import ANOTHER_WRITER, conflicts_retried
from crypto_pipeline.ingest import Ingested, ingest, sources
from crypto_pipeline.spark import SparkConnect, tagged
from shared.markers import KAFKA_LEFT
from shared.settings import settings
from shared.tables import Table

MODULES = tuple(sources())
TOPICS = dg.AssetSpec(
    dg.AssetKey(["kafka", "crypto_raw"]),
    group_name="kafka",
    kinds={"kafka"},
    description="**One message per event.** A topic a symbol, written by the streaming service, and kept for as long "
    "as config/retention.yaml says.",
)

QUARANTINE = dg.AssetSpec(
    specs.key(quarantine.TABLE),
    deps=[TOPICS.key],
    group_name="bronze",
    kinds={"spark", "hudi"},
    description=specs.description(quarantine),
    metadata=specs.metadata(quarantine.TABLE, settings().bucket),
)
"""Each table writes to it what it refuses, so it needs no run of its own."""
EXPIRED = dg.AssetSpec(
    specs.key(expired.TABLE),
    group_name="bronze",
    kinds={"spark", "hudi"},
    description=specs.description(expired),
    metadata=specs.metadata(expired.TABLE, settings().bucket),
)
"""The job `retention` writes to it what it lets go of."""


class BronzeConfig(dg.Config):
    """How to go on after Kafka has dropped messages that were not read."""

    skip_expired_offsets: bool = False


@dg.multi_asset(
    name="bronze",
    specs=[
        dg.AssetSpec(
            specs.key(module.TABLE),
            deps=[TOPICS.key],
            group_name="bronze",
            kinds={"spark", "hudi"},
            description=specs.description(module),
            metadata=specs.metadata(module.TABLE, settings().bucket),
            skippable=True,
        )
        for module in MODULES
    ],
    check_specs=[
        spec
        for module in MODULES
        for spec in (*specs.check_specs(module, blocking=False), specs.is_parsed(module), *specs.mark_specs(module))
    ],
    can_subset=True,
    pool="bronze",
)
def bronze(
    context: dg.AssetExecutionContext, config: BronzeConfig, spark: SparkConnect
) -> Iterator[dg.MaterializeResult[None]]:
    """Read what is new in Kafka once, and write each table with its offsets in one commit."""
    wanted = [module for module in MODULES if specs.key(module.TABLE) in context.selected_asset_keys]
    where = settings()
    left = where.state / KAFKA_LEFT
    with spark.lakehouse("bronze", context.run_id) as lake:
        bring = partial(
            ingest,
            lake,
            wanted,
            where.broker,
            where.kafka_topic,
            skip_expired=config.skip_expired_offsets,
            left=json.loads(left.read_text()) if left.exists() else {},
            progress=context.log.info,
            working_on=lambda table: tagged(lake, table, context.run_id),
        )
        done = conflicts_retried(lambda _state: context.log.info(ANOTHER_WRITER))(bring)
        for name, one in done.items():
            context.log.info(f"{one.rows:,} rows written to {name} in {one.seconds:.1f} s")
    if wanted:
        read_to = done[wanted[0].TABLE.full_name].offsets
        context.log_event(dg.AssetObservation(TOPICS.key, metadata={"offsets": dg.MetadataValue.json(read_to)}))
    for module in wanted:
        yield _result(module.TABLE, done[module.TABLE.full_name], context)


def _result(table: Table, done: Ingested, context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
    found = {rule: ("rows_in_quarantine", done.refused.get(rule, 0)) for rule in (*table.rules, CANNOT_BE_PARSED)}
    found |= {mark: ("rows_marked", done.marked.get(mark, 0)) for mark in table.marks}
    checks = [
        dg.AssetCheckResult(
            check_name=specs.IS_PARSED if name == CANNOT_BE_PARSED else name,
            asset_key=specs.key(table),
            passed=not count,
            severity=dg.AssetCheckSeverity.WARN,
            metadata={what: count},
        )
        for name, (what, count) in found.items()
    ]
    checks = [
        check
        for check in checks
        if dg.AssetCheckKey(specs.key(table), str(check.check_name)) in context.selected_asset_check_keys
    ]
    return dg.MaterializeResult(
        asset_key=specs.key(table),
        metadata={
            "rows_written": done.rows,
            "rows_in_quarantine": sum(done.refused.values()),
            "marks_broken": sum(done.marked.values()),
            "seconds": round(done.seconds, 2),
            "batch_id": context.run_id,
            "offsets": dg.MetadataValue.json(done.offsets),
        },
        check_results=checks,
    )
