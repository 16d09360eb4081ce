"""The market's only state."""

from pathlib import Path

import pytest

from streaming.simulator import SimulatorError
from streaming.simulator.checkpoint import open_market
from streaming.simulator.market import MINUTE

NOW = 1_795_000_000_123_456


def test_a_market_opens_whole_hours_before_the_minute_of_its_first_start(tmp_path: Path) -> None:
    market = open_market(tmp_path / "new", 7, 2.0, 26, NOW)
    assert market.opening == NOW // MINUTE * MINUTE - 26 * 60 * MINUTE


def test_a_restarted_market_goes_on_with_the_same_ids(tmp_path: Path) -> None:
    first = open_market(tmp_path, 7, 2.0, 26, NOW).tape("BTCUSDT")
    later = open_market(tmp_path, 7, 2.0, 3, NOW + 90 * MINUTE).tape("BTCUSDT")
    assert first
    assert later
    moment = NOW + 95 * MINUTE
    assert first.id_at(moment) == later.id_at(moment) > 1
    assert first.price_before(10_000) == later.price_before(10_000)


@pytest.mark.parametrize(("seed", "rate"), [(8, 2.0), (7, 3.0)])
def test_another_seed_or_rate_than_the_checkpoints_is_refused(tmp_path: Path, seed: int, rate: float) -> None:
    open_market(tmp_path, 7, 2.0, 26, NOW)
    with pytest.raises(SimulatorError, match=r"seed 7 and rate 2\.0, not seed .* delete the folder"):
        open_market(tmp_path, seed, rate, 26, NOW)


@pytest.mark.parametrize("text", ["", "[]", "{}", "{"])
def test_a_broken_checkpoint_is_refused_with_its_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "market.json").write_text(text)
    with pytest.raises(SimulatorError, match=r"market\.json"):
        open_market(tmp_path, 7, 2.0, 26, NOW)
