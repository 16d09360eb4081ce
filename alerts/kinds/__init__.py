"""Kinds of rules, one a file, found by looking: each class of a module here that names its `kind`."""

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache
from typing import get_args

from alerts.kinds._kind import Rule


@cache
def found() -> Mapping[str, type[Rule]]:
    """Each kind by its name."""
    names = [each.name for each in pkgutil.iter_modules(__path__) if not each.name.startswith("_")]
    modules = [importlib.import_module(f"{__name__}.{name}") for name in names]
    classes = [
        value
        for module in modules
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Rule) and _names(value)
    ]
    return {_names(each)[0]: each for each in classes}


def _names(rule: type[Rule]) -> tuple[str, ...]:
    """The literal that its `kind` is; none for what kinds are made of."""
    return get_args(rule.model_fields["kind"].annotation)
