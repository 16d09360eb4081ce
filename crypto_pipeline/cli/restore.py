"""`crypto restore`: a deployment from a backup."""

from typing import Annotated

import typer


def restore(
    from_: Annotated[str, typer.Option("--from", help="Where `crypto backup` put it.")],
    backup: Annotated[str, typer.Option(help="Which one, such as 20261128T003713Z; else the newest.")] = "",
) -> None:
    """Fill an empty deployment from a backup, and then run `./deploy.sh` (`./deploy.sh --demo`).

    It starts MinIO and PostgreSQL alone, fills them, and stops them again. Every file's checksum is looked at. Where
    something is deployed already, nothing is done: name another folder by CRYPTO_HOME, or run `./cleanup.sh` first. One
    that was killed goes on with the same command, and nothing can be deployed before it is whole.

    Passwords are made anew unless the backup was made `--with-secrets`. Files of `config/` that differ from those here
    are put into `restored-config/`.

    Examples:

    - `crypto restore --from /mnt/disk/crypto`
    - `CRYPTO_HOME=/srv/crypto crypto restore --from s3://backups/crypto`
    """
    from crypto_pipeline.backup.place import place_of
    from crypto_pipeline.backup.restoring import restore as restored
    from crypto_pipeline.cli._backup import copying
    from shared.settings import Settings

    with copying() as told:
        place = place_of(from_, Settings.load())
        settings, found, notes = restored(place, backup, told)
    for note in notes:
        typer.echo(note, err=True)
    how = "./deploy.sh --demo" if found.mode == "demo" else "./deploy.sh"
    typer.echo(f"The backup {found.made_at} is restored into {settings.state}. Start it: {how}")
