import pytest

from alerts.kinds import found
from alerts.kinds._kind import AskedRule, Rule, TradeRule
from alerts.rules import load
from shared.settings import PROJECT

KINDS = {
    "no_data", "completeness", "lag", "freshness", "gap", "failed_run", "disk", "dead_letters", "prometheus",
    "price_crosses", "move", "volume_spike", "signal", "anomaly", "drawdown", "var_breach",
}  # fmt: skip


def test_every_kind_is_found() -> None:
    assert set(found()) == KINDS


@pytest.mark.parametrize("kind", sorted(found()))
def test_a_kind_is_asked_or_sees_trades_says_what_it_does_and_has_an_example(kind: str) -> None:
    model = found()[kind]
    assert issubclass(model, AskedRule) != issubclass(model, TradeRule)
    assert model.__doc__
    assert "Fires" in model.__doc__
    assert model.__module__.rpartition(".")[2] == kind
    example = next(rule for rule in load(PROJECT / "config" / "alerts.yaml").rules if rule.kind == kind)
    assert type(example) is model


@pytest.mark.parametrize("kind", sorted(found()))
def test_a_kind_whose_names_differ_in_nothing_else_is_the_same_rule(kind: str) -> None:
    example = next(rule for rule in load(PROJECT / "config" / "alerts.yaml").rules if rule.kind == kind)
    assert type(example).model_validate_json(example.model_dump_json()) == example
    assert isinstance(example, Rule)
