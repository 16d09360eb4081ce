"""The metrics that rules, dashboards and the recipe name, and all of their expressions."""

import json
import re
from collections.abc import Iterable, Iterator

import yaml
from prometheus_client import Metric

from deployment.prometheus import CONFIG
from monitoring.dashboards import FOLDER
from shared.settings import PROJECT

RECIPE = PROJECT / "docs" / "recipes" / "monitoring.md"
SUFFIXES = {
    "counter": ("_total",),
    "gauge": ("",),
    "histogram": ("_bucket", "_sum", "_count"),
    "summary": ("_sum", "_count"),
}
_WITHOUT = (
    r'"[^"]*"',  # texts
    r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)",  # labels
    r"\{[^}]*\}",
    r"\[[^\]]*\]",
)
_KEYWORDS = {"and", "or", "unless", "offset", "bool"}


def sample_names(families: Iterable[Metric]) -> set[str]:
    """The names that Prometheus has of these."""
    return {family.name + suffix for family in families for suffix in SUFFIXES[family.type]}


def metrics(expression: str) -> set[str]:
    """The metrics that an expression names."""
    for pattern in _WITHOUT:
        expression = re.sub(pattern, "", expression)
    found = re.findall(r"\b([a-zA-Z_:][a-zA-Z0-9_:]*)\b(?!\s*\()", expression)
    return set(found) - _KEYWORDS


def rules() -> Iterator[tuple[str, str]]:
    """Each alert and its expression."""
    for group in yaml.safe_load((CONFIG / "rules.yml").read_text())["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]


def graphs() -> Iterator[tuple[str, str]]:
    """Each panel of the dashboards, and its expressions as Grafana would ask them."""
    for path in sorted(FOLDER.glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel["targets"]:
                yield f"{path.stem}: {panel['title']}", target["expr"].replace("$__rate_interval", "1m")


def questions() -> Iterator[tuple[str, str]]:
    """Each question of the recipe, and its expression."""
    for question, expression in re.findall(r"^\| ([^|]+\?) \| `(.+)` \|$", RECIPE.read_text(), re.MULTILINE):
        yield question, expression.replace("\\|", "|")
