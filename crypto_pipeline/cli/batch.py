"""`crypto batch`: where a batch of messages is, from its offsets in Kafka to gold."""

from typing import Annotated

import typer


def batch(
    batch_id: Annotated[str, typer.Argument(help="Its id, or how it begins; without it, the newest.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Follow a batch of messages from its offsets in Kafka to the tables that hold it, by what their commits note.

    Its id is that of the Dagster run that took it in. What that and later runs log of tables that hold it carries it as
    `batch_id`, and each asset shows it with its materializations. A table that had nothing to be written for it is
    not shown, or with the next commit that it had. Of gold it says which candles of a minute were there.

    Examples:

    - `crypto batch`
    - `crypto batch 3f2a90c1 --json`
    """
    import json

    from crypto_pipeline.batches import UnknownBatchError, trace
    from crypto_pipeline.cli import _answers
    from crypto_pipeline.reader import LakeError
    from shared.settings import settings

    try:
        found = trace(settings(), batch_id)
    except (UnknownBatchError, LakeError) as error:
        typer.echo(error, err=True)
        raise typer.Exit(1) from None
    if as_json:
        messages = [span._asdict() for span in found.messages]
        held_by = [{**vars(one), "since": one.since.isoformat()} for one in found.held_by]
        typer.echo(json.dumps({"batch_id": found.batch_id, "messages": messages, "held_by": held_by}, indent=2))
        return
    from rich.table import Table

    console = _answers.console()
    console.print(f"Batch {found.batch_id}", highlight=False)
    taken = Table("topic", "partition", "first offset", "last offset", "messages")
    for topic, partition, first, until in found.messages:
        count = "unknown" if first is None else f"{until - first:,}"
        taken.add_row(topic, str(partition), "unknown" if first is None else str(first), str(until - 1), count)
    console.print(taken)
    held = Table("held by", "since (UTC)", "after the first", "rows of that commit")
    for one in found.held_by:
        after = (one.since - found.held_by[0].since).total_seconds()
        held.add_row(one.table, f"{one.since:%Y-%m-%d %H:%M:%S}", f"{after:.1f} s", f"{one.rows:,}")
    console.print(held)
