"""`crypto export`: a range of the lake as files that other tools read."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from crypto_pipeline.export import names


def export(
    format: Annotated[str, typer.Option(help=f"One of {', '.join(names())}.")],  # noqa: A002 (the name of the option)
    symbol: Annotated[str, typer.Option(help="One or more, comma-separated.")],
    start: Annotated[str, typer.Option("--from", help="UTC: 2026-11-20 or 2026-11-20T10:00.")],
    end: Annotated[str, typer.Option("--to", help="UTC; not included.")],
    data: Annotated[
        Literal["candles", "trades", "depth"] | None,
        typer.Option(help="Without it, candles; of hftbacktest, depth.", show_default=False),
    ] = None,
    timeframe: Annotated[Literal["1m", "5m", "15m", "1h", "4h", "1d"], typer.Option(help="Of candles.")] = "1m",
    exchange: Annotated[str, typer.Option(help="The market.")] = "binance",
    out: Annotated[Path, typer.Option(help="The folder to write to.", file_okay=False)] = Path("export"),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that are there.")] = False,
) -> None:
    """Write candles, trades or books as other tools read them, straight from the object store, without Spark.

    Candles that are not proven are left out. A file is there whole or not at all. The same command goes on where it was
    interrupted. docs/recipes/export.md says what each format holds, and how its tool reads it.

    Examples:

    - `crypto export --format freqtrade --symbol BTCUSDT,ETHUSDT --timeframe 5m --from 2026-11-01 --to 2026-11-21
      --out user_data/data/binance`
    - `crypto export --format parquet --symbol BTCUSDT --data trades --from 2026-11-20 --to 2026-11-21`
    - `crypto export --format hftbacktest --symbol BTCUSDT --from 2026-11-20T08:00 --to 2026-11-20T12:00`
    """
    from crypto_pipeline import utc
    from crypto_pipeline.cli import _times
    from crypto_pipeline.cli._history import Bar
    from crypto_pipeline.export import _export, _reading, format_of
    from crypto_pipeline.export._files import ExportError
    from crypto_pipeline.export._format import Range
    from crypto_pipeline.reader import LakeError

    if format not in names():
        raise typer.BadParameter(f"There is no format {format!r}. There are: {', '.join(names())}.")
    holds = format_of(format).data
    if data and data not in holds:
        raise typer.BadParameter(f"{format} holds {' or '.join(holds)}, not {data}.")
    asked = Range(*(utc.moment_of(_times.micros(*each)) for each in (("--from", start), ("--to", end))))
    if asked.start >= asked.end:
        raise typer.BadParameter("--to must be later than --from.")
    symbols = [name.strip().upper() for name in symbol.split(",") if name.strip()]
    done = _export.Done()
    try:
        every = [_reading.wanted(name, exchange, data or holds[0], timeframe, asked) for name in symbols]
        for line in filter(None, map(_reading.missing, every)):
            typer.echo(line, err=True)
        with Bar("reading", sum(_export.steps(format, each) for each in every)) as bar:
            for each in every:
                done.add(_export.export(format, each, out, overwrite=overwrite, did=bar.advance, says=bar.says))
    except (ExportError, LakeError) as error:
        typer.echo(error, err=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        typer.echo("Interrupted: what is finished stays; the same command goes on.", err=True)
        raise typer.Exit(130) from None
    typer.echo(f"{done.rows:,} rows in {done.files} files in {out}.")
    if done.earlier:
        typer.echo(f"{done.earlier} more files were finished by an earlier run that was interrupted.")
    if done.empty:
        typer.echo(f"{done.empty} days or months have no rows, and no file.")
    if done.left_out:
        typer.echo(f"{done.left_out:,} candles that are not proven were left out.")
