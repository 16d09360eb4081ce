"""`crypto docs`: the page that describes every table, and the contracts as data."""

import typer


def docs() -> None:
    """Write `docs/tables.md` and `crypto_pipeline/contracts.json` anew, as the contracts in the code have them.

    Run it after you have changed a contract; a test says when it is due. A new VERSION of the contracts is added to
    `crypto_pipeline/contract_versions.json`.

    Examples:

    - `crypto docs`
    """
    from crypto_pipeline import catalog, contract_versions, contracts
    from crypto_pipeline.table_docs import FILE, reference
    from shared.settings import PROJECT, settings

    shipped = PROJECT / "config" / "indicators.yaml"
    if settings().indicators_file.resolve() != shipped:
        typer.echo(f"The page is of {shipped}: run this without INDICATORS_FILE.", err=True)
        raise typer.Exit(1)
    modules = catalog.table_modules()
    FILE.write_text(reference(modules), encoding="utf-8")
    gathered = contracts.gathered()
    contracts.FILE.write_bytes(contracts.encoded(gathered))
    known = contract_versions.versions()
    if contract_versions.VERSION not in known:
        known[contract_versions.VERSION] = contract_versions.structure(gathered)
        contract_versions.FILE.write_text(contract_versions.encoded(known), encoding="utf-8")
    for file in (FILE, contracts.FILE):
        typer.echo(f"{file.relative_to(PROJECT)}: {len(modules)} tables and views.")
