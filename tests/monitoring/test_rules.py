"""Rules, expressions and configuration, judged by Prometheus' own tools."""

import subprocess
from pathlib import Path

import pytest
import yaml

from deployment import prometheus
from deployment.paths import tool
from shared.settings import Settings
from tests.monitoring.named import graphs, questions, rules

pytestmark = pytest.mark.skipif(
    prometheus.promtool() is None,
    reason="promtool is not installed: apt-get install prometheus; ./test.sh does it as root on Debian",
)
TRIED = Path(__file__).with_name("rules_test.yml")


def promtool(*arguments: object) -> None:
    program = prometheus.promtool()
    assert program
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_rules_fire_when_they_should_and_not_otherwise() -> None:
    promtool("test", "rules", TRIED)


def test_every_rule_is_tried() -> None:
    tried = [test["alertname"] for one in yaml.safe_load(TRIED.read_text())["tests"] for test in one["alert_rule_test"]]
    assert set(tried) == {name for name, _ in rules()}


def test_every_expression_of_a_dashboard_and_of_the_recipe_parses(tmp_path: Path) -> None:
    assert list(questions())
    expressions = [expression for _, expression in (*graphs(), *questions())]
    recorded = [{"record": f"expression_{at}", "expr": expression} for at, expression in enumerate(expressions)]
    path = tmp_path / "expressions.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "all", "rules": recorded}]}))
    promtool("check", "rules", path)


def test_the_configuration_is_right_with_its_rules(tmp_path: Path) -> None:
    path = tmp_path / "prometheus.yml"
    path.write_text(prometheus.configuration(Settings(), (prometheus.CONFIG / "prometheus.yml").read_text()))
    promtool("check", "config", path)


@pytest.mark.skipif(tool("amtool") is None, reason="amtool is not installed: apt-get install prometheus-alertmanager")
def test_the_configuration_of_alertmanager_is_right() -> None:
    subprocess.run(["amtool", "check-config", prometheus.CONFIG / "alertmanager.yml"], check=True, capture_output=True)
