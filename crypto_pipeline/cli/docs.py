"""`crypto docs`: the page that describes every table, and the contracts as data."""

import typer


def docs() -> None:
    """Write `docs/tables.md` and `crypto_pipeline/contracts.json` anew, as the contracts in the code have them.

    Run it after you have changed a contract; a test says when it is due.

    Examples:

    - `crypto docs`
    """
    from crypto_pipeline import catalog, contracts
    from crypto_pipeline.table_docs import FILE, reference
    from shared.settings import PROJECT, settings

    shipped = PROJECT / "config" / "indicators.yaml"
    if settings().indicators_file.resolve() != shipped:
        typer.echo(f"The page is of {shipped}: run this without INDICATORS_FILE.", err=True)
        raise typer.Exit(1)
    modules = catalog.table_modules()
    FILE.write_text(reference(modules), encoding="utf-8")
    contracts.FILE.write_bytes(contracts.encoded(contracts.gathered()))
    for file in (FILE, contracts.FILE):
        typer.echo(f"{file.relative_to(PROJECT)}: {len(modules)} tables and views.")
