"""`crypto report`: a day on one page."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from datetime import date, datetime

    from shared.settings import Settings


def report(
    portfolio: Annotated[
        str,
        typer.Option(help="Its name in config/portfolio.yaml; needless if there is one.", show_default=False),
    ] = "",
    day: Annotated[
        str, typer.Option("--date", metavar="DATE", help="The UTC day; else yesterday.", show_default=False)
    ] = "",
    output: Annotated[
        Path | None,
        typer.Option(help="Where to write it; else under var/MODE/reports.", show_default=False, dir_okay=False),
    ] = None,
) -> None:
    """Write a report of a day: one HTML page that opens in any browser, without a network, and prints.

    It shows the portfolio's value, return and drawdown beside its benchmark, what each asset contributed, the risk,
    what moves together, the movers, signals, anomalies and forecasts, and how complete the data of the day is. What is
    not known says why, and when it will be.

    Dagster makes the same for each portfolio every day after midnight UTC: the asset `reports/daily` links to them.

    Examples:

    - `crypto report --portfolio balanced`
    - `crypto report --portfolio balanced --date 2026-11-25 --output today.html`
    """
    from datetime import UTC, datetime

    from crypto_pipeline.cli._times import utc_day
    from crypto_pipeline.reader import LakeError
    from shared.settings import settings

    where, now = settings(), datetime.now(UTC)
    chosen = utc_day("--date", day, now)
    try:
        name = _chosen(portfolio, where)
        path = _made(name, chosen, where, now, output)
    except LakeError as error:
        typer.echo(error, err=True)
        raise typer.Exit(1) from None
    except OSError as error:
        typer.echo(f"The report cannot be written: {error}", err=True)
        raise typer.Exit(1) from None
    typer.echo(path)


def _chosen(portfolio: str, where: "Settings") -> str:
    """The portfolio's name, or none where none is valued yet. Raises `BadParameter`."""
    from crypto_pipeline.report import reading

    names = reading.portfolios(where)
    if portfolio in names:
        return portfolio
    if not portfolio and len(names) < 2:
        return names[0] if names else ""
    there = f"There are: {', '.join(names)}." if names else "None is yet: without it you get the markets."
    if portfolio:
        raise typer.BadParameter(f"--portfolio {portfolio!r} is not one that is valued. {there}")
    raise typer.BadParameter(f"Which one? Give --portfolio. {there}")


def _made(portfolio: str, day: "date", where: "Settings", now: "datetime", output: Path | None) -> Path:
    from crypto_pipeline.report import page, publish, reading

    text = page.rendered(reading.report(portfolio, day, where, now))
    if output is None:
        return publish.written(text, publish.name_of(portfolio, day), where)
    output.write_text(text, encoding="utf-8")
    return output
