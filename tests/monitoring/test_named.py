"""Every metric that a rule, a dashboard or the recipe names is one that a service tells."""

import re
from collections.abc import Iterable

import pytest

from alerts.metrics import Metrics as AlertsMetrics
from monitoring.sources.clickhouse import TAKEN
from serving.clickhouse.metrics import Metrics as ClickHouseMetrics
from streaming.metrics import Metrics as StreamingMetrics
from tests.monitoring.named import RECIPE, graphs, metrics, questions, rules, sample_names
from tests.monitoring.told import Told, until

OF_PROMETHEUS = {"up", "ALERTS"}
"""It makes them itself; tests/integration/test_monitoring.py finds them, and Spark's, in a deployed system."""
OF_SPARK = "metrics_"


@pytest.fixture(scope="module")
def ours(told: Told) -> set[str]:
    """The names of all that our services tell."""
    until(lambda: set(told.values("monitoring_source_up").values()) == {1.0})
    found = sample_names(told.families().values())
    registries = (metrics().registry for metrics in (StreamingMetrics, AlertsMetrics, ClickHouseMetrics))
    return found | {TAKEN} | {name for registry in registries for name in sample_names(registry.collect())}


@pytest.mark.parametrize(
    ("expression", "named"),
    [
        ("topk(10, rate(a_total[5m])) / on (x) b", {"a_total", "b"}),
        ('sum by (job, le) (increase(a_bucket{job="c"}[1h])) > 0 and d', {"a_bucket", "d"}),
        ("1 - up > 0 or vector(0)", {"up"}),
    ],
)
def test_the_metrics_of_an_expression_are_found(expression: str, named: set[str]) -> None:
    assert metrics(expression) == named


def strangers(expressions: Iterable[tuple[str, str]], known: set[str]) -> dict[str, set[str]]:
    """By where it stands, what nobody tells."""
    found = {where: metrics(expression) - known - OF_PROMETHEUS for where, expression in expressions}
    return {where: {name for name in names if not name.startswith(OF_SPARK)} for where, names in found.items()}


def test_every_metric_that_a_rule_a_dashboard_or_a_question_names_is_told(ours: set[str]) -> None:
    found = strangers([*rules(), *graphs(), *questions()], ours)
    assert not any(found.values()), found


def test_the_recipe_lists_every_metric_of_ours_and_no_other(ours: set[str]) -> None:
    listed = set(re.findall(r"^\| `([a-z_]+)` ", RECIPE.read_text(), re.MULTILINE))
    families = {re.sub("_(bucket|sum|count)$", "", name) for name in ours if not name.startswith("process_")}
    assert {name for name in listed if not name.startswith(OF_SPARK)} == families


def test_the_recipe_says_what_to_do_of_every_alert() -> None:
    listed = re.findall(r"^\| `([A-Z]\w+)` ", RECIPE.read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(name for name, _ in rules())
