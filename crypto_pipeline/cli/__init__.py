"""The command `crypto`. Each module beside this one is a command, the function that bears its name; `_name` is none.

Where a command has commands of its own, that name is a `typer.Typer` of them.

A name that Python keeps for itself has `_` at its end.

What a command needs is imported when it runs, so that `crypto --help` answers at once.
"""

import pkgutil
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup


class _Commands(TyperGroup):
    """Turns what the user can mend, a wrong setting or a wrong file of `config/`, into one sentence and exit code 2."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except Exception as error:
            from shared.settings import SettingsError
            from shared.yaml_file import YamlFileError

            if isinstance(error, SettingsError | YamlFileError):
                typer.echo(error, err=True)
                raise typer.Exit(2) from None
            raise


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Your own crypto market-data lakehouse: stream it, query it, and see that it is whole.\n\n"
    "Start with `crypto stream --stdout`: live trades on your screen, with nothing else installed or running.",
)


@app.callback()
def _crypto() -> None:
    """Keeps `crypto` a group of commands, however many there are."""


for _module in sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_")):
    _command = getattr(import_module(f"{__name__}.{_module}"), _module)
    if isinstance(_command, typer.Typer):
        app.add_typer(_command, name=_module)
    else:
        app.command(name=_module.rstrip("_"))(_command)
