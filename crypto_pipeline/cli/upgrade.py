"""`crypto upgrade`: the lake as the contracts of this code have it."""

from typing import Annotated

import typer


def upgrade(
    to: Annotated[str, typer.Option(help="Where the backup before it goes; else `backups/` beside `.env`.")] = "",
) -> None:
    """Write anew the tables whose rows lie otherwise than this code, or LAKE_BUCKETS, says.

    Everything must be stopped for it (`./stop.sh`). A backup is made before. Every table's rows are compared
    afterwards, and what fails is put back by itself. One that was killed is put back by the next `crypto upgrade`,
    which then begins anew; nothing can be deployed before.

    Columns that were added need none of it: `./deploy.sh` gives them to the tables. A lake of a newer code is refused.

    Examples:

    - `./stop.sh; crypto upgrade; ./deploy.sh`
    """
    from crypto_pipeline import catalog, contract_versions
    from crypto_pipeline.backup.manifest import BackupError
    from crypto_pipeline.backup.restoring import stores
    from crypto_pipeline.cli._backup import copying
    from crypto_pipeline.upgrading import upgrade as upgraded
    from deployment import docker
    from deployment.supervise import Supervisor
    from shared.settings import Settings, home

    chosen = Settings.load()
    with copying() as told:
        if Supervisor(chosen.state).running():
            raise BackupError("The deployment runs: `./stop.sh` first, so that nothing writes meanwhile.")
        if docker.volumes():
            raise BackupError("The deployment here is in Docker, whose volumes `crypto upgrade` does not reach.")
        if not (chosen.s3_endpoint or (chosen.state / "minio").is_dir()):
            raise BackupError(
                f"Nothing was ever deployed in {chosen.state}: ./deploy.sh makes the tables as they are to be."
            )
        with stores(chosen):
            place = to or str(home() / "backups" / chosen.mode)
            changes = upgraded(chosen, place, told, catalog.tables(), contract_versions.versions())
    for change in changes:
        typer.echo(f"{change.table.full_name} is laid anew: {'; '.join(change.reasons)}.")
    if not changes:
        typer.echo("The lake is as this code has it: there is nothing to upgrade.")
