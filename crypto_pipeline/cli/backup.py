"""`crypto backup`: a copy of the tables and of all else that cannot be made again."""

from typing import Annotated

import typer


def backup(
    to: Annotated[str, typer.Option(help="A folder, or s3://bucket/folder; else `backups/` beside `.env`.")] = "",
    keep: Annotated[int, typer.Option(help="So many backups stay; what only older ones need is removed.", min=1)] = 7,
    wait: Annotated[int, typer.Option(help="Seconds that bronze may take to have what is in Kafka.", min=0)] = 240,
    with_secrets: Annotated[
        bool, typer.Option("--with-secrets", help="`.env` too. It holds every password: guard the place.")
    ] = False,
) -> None:
    """Copy the tables, the raw archive, PostgreSQL's databases, what streaming remembers, and the configuration.

    Everything goes on meanwhile. What the place has already is not copied again, so the second backup is quick. A
    backup is there once its manifest is written, at the very end; one that was killed goes on with the same command.
    Kafka is none of it: the backup waits until bronze has what is in it.

    A place of another object store is reached by BACKUP_S3_ENDPOINT, BACKUP_S3_ACCESS_KEY and BACKUP_S3_SECRET_KEY.
    `crypto restore` makes a deployment of it again.

    Examples:

    - `crypto backup`
    - `crypto backup --to /mnt/disk/crypto`
    - `crypto backup --to s3://backups/crypto --keep 30`
    """
    from crypto_pipeline.backup.place import place_of
    from crypto_pipeline.backup.taking import back_up
    from crypto_pipeline.cli._backup import copying
    from crypto_pipeline.cli.du import size
    from shared.settings import home, settings

    chosen = settings()
    with copying() as told:
        place = place_of(to or str(home() / "backups" / chosen.mode), chosen)
        made = back_up(chosen, place, told, with_secrets=with_secrets, keep=keep, wait=wait)
    for warning in made.warnings:
        typer.echo(warning, err=True)
    held = sum(one.size for one in (*made.objects, *made.files))
    typer.echo(f"The backup {made.made_at} is in {place}: {len(made.objects):,} objects, {size(held)}.")
