"""`crypto import`: files of an exchange's public archive, or of `crypto export`, into the lake."""

from pathlib import Path
from typing import Annotated, Literal

import typer


def import_(
    kind: Annotated[Literal["trades", "agg-trades", "klines", "depth"], typer.Argument(help="What the files hold.")],
    paths: Annotated[
        list[Path], typer.Argument(help="Files (zip, CSV or Parquet), or folders of them.", show_default=False)
    ],
    symbol: Annotated[str, typer.Option(help="Of which pair they are; it need not be in symbols.yaml.")],
    exchange: Annotated[str, typer.Option(help="The market.")] = "binance",
    base: Annotated[str, typer.Option(help="Base asset, where the symbol does not tell.")] = "",
    quote: Annotated[str, typer.Option(help="Quote asset, where the symbol does not tell.")] = "",
    bronze_only: Annotated[bool, typer.Option("--bronze-only", help="Leave silver to the pipeline.")] = False,
) -> None:
    """Load files of Binance's public archive (data.binance.vision), daily and monthly, or of `crypto export`.

    Of exports it takes CSV and Parquet of trades and of candles of 1m (`klines`), and Parquet of books (`depth`).
    Trades and books in Parquet come back as they were stored, also with when they were received; all else as from the
    archive.

    Each file is checked first: its name, its `.CHECKSUM` where that lies beside it, and the zip itself. Nothing that is
    stored is ever changed: equal rows count as there, differing ones are kept in `bronze.quarantine`. So the same
    command may be run again, and goes on where it was interrupted. A running pipeline may stay.

    Examples:

    - `crypto import trades BTCUSDT-trades-2026-11-20.zip --symbol BTCUSDT`
    - `crypto import klines downloads/ --symbol ETHUSDT --bronze-only`
    - `crypto import trades export/ --symbol BTCUSDT`
    """
    from crypto_pipeline.cli import _history
    from crypto_pipeline.cli._lake import connected
    from crypto_pipeline.history.archives import Archive, checked
    from crypto_pipeline.history.exports import Exported, checked_export
    from crypto_pipeline.history.importing import build_on, import_archives
    from crypto_pipeline.history.staging import Staging
    from shared.settings import settings
    from streaming.exchange import exchanges

    pair = _history.symbol_of(symbol, base, quote)
    if exchange not in exchanges():
        raise typer.BadParameter(f"There is no exchange {exchange}; there is {', '.join(sorted(exchanges()))}.")
    native = exchanges()[exchange]().native(pair.base, pair.quote)
    files = [file for path in paths for file in (sorted(_archives_in(path)) if path.is_dir() else [path])]
    if not files:
        raise typer.BadParameter("There is no zip, CSV or Parquet file in what was named.")
    with _history.explained():
        with _history.Bar("checking", len(files)) as bar:
            found: list[Archive | Exported] = []
            for file in files:
                is_export = file.suffix == ".parquet"
                found.append(
                    checked_export(file, kind, exchange, pair)
                    if is_export
                    else checked(file, kind, exchange, pair, native)
                )
                bar.advance()
        for archive in found:
            for warning in archive.warnings:
                typer.echo(warning, err=True)
        with (
            connected(settings(), "import") as lake,
            _history.Bar("reading", sum(file.stat().st_size for file in files)) as bar,
        ):
            staging = Staging(settings())
            staging.sweep()
            done = import_archives(
                lake,
                staging,
                found,
                progress=bar.print,
                read=lambda archive: bar.advance(archive.path.stat().st_size),
            )
            if not bronze_only:
                build_on(lake, kind, done, bar.says)
        _history.summary(done, kind)


def _archives_in(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.suffix in (".zip", ".csv", ".parquet")]
