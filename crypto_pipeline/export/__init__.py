"""A range of the lake as files that other tools read. Each format is a module of this package, found by looking.

Such a module has a `FORMAT` (`_format.Format`): what it can hold, which files it makes of a range, and how one is
written. Its name is the format's, with `_` for `.`, and its docstring says what becomes of our rows. `_files.py` sees
to it that a file is there whole or not at all.
"""

import pkgutil
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crypto_pipeline.export._format import Format


def names() -> list[str]:
    """All formats. None is imported."""
    return [each.name.replace("_", ".") for each in pkgutil.iter_modules(__path__) if not each.name.startswith("_")]


def format_of(name: str) -> "Format":
    """The format of a name."""
    found: Format = import_module(f"{__name__}.{name.replace('.', '_')}").FORMAT
    return found
