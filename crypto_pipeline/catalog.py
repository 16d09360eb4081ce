"""The tables and views there are, found by looking: every module of bronze, silver and gold states one contract."""

import importlib
import pkgutil
from functools import lru_cache
from graphlib import TopologicalSorter
from types import ModuleType

from shared.tables import Layer, Table, View

LAYERS: tuple[Layer, ...] = ("bronze", "silver", "gold")


@lru_cache
def table_modules(*layers: Layer) -> dict[str, ModuleType]:
    """The module of each table or view by its full name, in the order of the layers; with `layers`, of these alone."""
    modules = {}
    for layer in layers or LAYERS:
        package = importlib.import_module(f"crypto_pipeline.{layer}")
        for found in pkgutil.iter_modules(package.__path__):
            module = importlib.import_module(f"crypto_pipeline.{layer}.{found.name}")
            contract = getattr(module, "TABLE", None) or getattr(module, "VIEW", None)
            if contract:
                modules[contract.full_name] = module
    return modules


def tables(*layers: Layer) -> dict[str, Table]:
    """Every table's contract by its full name; with `layers`, of these alone, and only their code is imported."""
    return {name: module.TABLE for name, module in table_modules(*layers).items() if hasattr(module, "TABLE")}


def views() -> dict[str, View]:
    """Every view by its full name."""
    return {name: module.VIEW for name, module in table_modules().items() if hasattr(module, "VIEW")}


def derived(*layers: Layer) -> list[ModuleType]:
    """The modules of tables that are made from others, each after its sources; with `layers`, of these alone."""
    modules = {name: module for name, module in table_modules().items() if hasattr(module, "SOURCES")}
    sources = {name: [source.full_name for source in module.SOURCES] for name, module in modules.items()}
    ordered = [modules[name] for name in TopologicalSorter(sources).static_order() if name in modules]
    return [module for module in ordered if not layers or module.TABLE.layer in layers]
