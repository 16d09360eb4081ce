"""`crypto retention`: what is older than `config/retention.yaml` keeps it goes."""

import json as to_json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crypto_pipeline.cli.status import plain_table

if TYPE_CHECKING:
    from rich.console import RenderableType

    from crypto_pipeline.retention.decision import Decision


def retention(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would go, and change nothing.")] = False,
    json: Annotated[bool, typer.Option("--json", help="As JSON, for scripts: bytes, not rounded.")] = False,
) -> None:
    """Let go of what is older than `config/retention.yaml` keeps it: of the raw archive and of tables of bronze.

    The job `retention` in Dagster does it each night, and lets go of old runs of Dagster too. Only what silver was made
    of and is verified goes; all else stays, and the answer says why. What goes is recorded in `bronze.expired` first.
    Stopped at any time, the same command goes on where it was. docs/recipes/retention.md says more.

    `--json` gives one object: `goes` (`what`, `exchange`, `symbol`, `day`, `files`, `bytes`), `stays` (`what`,
    `exchange`, `symbol`, `day`, `why`), and `bytes`, what is freed.

    Examples:

    - `crypto retention --dry-run`
    - `crypto retention --json | jq .bytes`
    """
    from datetime import UTC, datetime

    from pyspark.errors import PySparkException

    from crypto_pipeline.cli._answers import console
    from crypto_pipeline.cli._lake import connected
    from crypto_pipeline.reader import LakeError
    from crypto_pipeline.retention.apply import Retention, RetentionError, alone
    from shared.retention import load_rules
    from shared.settings import settings

    chosen, now = settings(), datetime.now(UTC)
    rules = load_rules(chosen)
    try:
        with connected(chosen, "retention") as lake, alone(chosen):
            mine = Retention(chosen, lake, rules)
            found = mine.decision(now)
            if not dry_run:
                mine.apply(found, now, lambda line: typer.echo(line, err=True))
    except (LakeError, RetentionError) as error:
        typer.echo(error, err=True)
        raise typer.Exit(1) from None
    except PySparkException as error:
        typer.echo(f"Spark could not do it: {str(error).splitlines()[0]}. The same command goes on.", err=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        typer.echo("Stopped. The same command goes on where it was.", err=True)
        raise typer.Exit(130) from None
    if json:
        typer.echo(as_json(found))
    else:
        console().print(rendered(found, dry_run=dry_run))


def as_json(found: "Decision") -> str:
    """What the help of the command describes."""

    def named(unit: Any) -> dict[str, Any]:
        return {**unit._asdict(), "day": str(unit.day)}

    goes = [named(unit) | size._asdict() for unit, size in found.goes.items()]
    stays = [named(unit) | {"why": why} for unit, why in found.stays.items()]
    return to_json.dumps({"goes": goes, "stays": stays, "bytes": found.bytes}, indent=2)


def rendered(found: "Decision", *, dry_run: bool) -> "RenderableType":
    """What goes by table and symbol, what stays and why, and what is freed."""
    from rich.console import Group
    from rich.text import Text

    from crypto_pipeline.cli.du import size

    shown: list[RenderableType] = []
    if found.goes:
        table = plain_table("what", "symbol", "from", "to", "days>", "files>", "bytes>")
        for key in sorted({unit[:3] for unit in found.goes}):
            days = sorted(unit.day for unit in found.goes if unit[:3] == key)
            sizes = [held for unit, held in found.goes.items() if unit[:3] == key]
            files, freed = (sum(counts) for counts in zip(*sizes, strict=True))
            what, exchange, symbol = key
            of = f"{exchange} {symbol}" if symbol else "(all)"
            table.add_row(what, of, str(days[0]), str(days[-1]), f"{len(days):,}", f"{files:,}", size(freed))
        shown += [table, ""]
    if found.stays:
        table = plain_table("stays", "symbol", "day", "because")
        for unit, why in found.stays.items():
            table.add_row(unit.what, f"{unit.exchange} {unit.symbol}" if unit.symbol else "(all)", str(unit.day), why)
        shown += [table, ""]
    did = "would go" if dry_run else "went"
    text = f"{len(found.goes):,} days {did}, {size(found.bytes)}; {len(found.stays):,} that are old enough stay."
    return Group(*shown, Text(text if found.goes or found.stays else "Nothing is old enough to go."))
