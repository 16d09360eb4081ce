"""`crypto docs`: the page that describes every table."""

import typer


def docs() -> None:
    """Write `docs/tables.md` anew: every table and view, as the contracts in the code have it.

    Run it after you have changed a contract; a test says when it is due.

    Examples:

    - `crypto docs`
    """
    from crypto_pipeline.catalog import table_modules
    from crypto_pipeline.table_docs import FILE, reference
    from shared.settings import PROJECT, settings

    shipped = PROJECT / "config" / "indicators.yaml"
    if settings().indicators_file.resolve() != shipped:
        typer.echo(f"The page is of {shipped}: run this without INDICATORS_FILE.", err=True)
        raise typer.Exit(1)
    modules = table_modules()
    FILE.write_text(reference(modules), encoding="utf-8")
    typer.echo(f"{FILE.relative_to(PROJECT)}: {len(modules)} tables and views.")
