"""When which fault comes."""

from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.settings import Settings
from streaming.simulator import SimulatorError
from streaming.simulator.__main__ import wanted_faults
from streaming.simulator.faults import Cut, SkipIds, kinds
from streaming.simulator.schedule import Planned, entries, plan, read


def _first(asked: object, seed: int, count: int = 200) -> list[Planned]:
    return list(islice(plan(entries(asked), seed), count))


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(), minutes=st.integers(1, 30))
def test_the_same_seed_gives_the_same_faults_at_the_same_moments(seed: int, minutes: int) -> None:
    asked = [{"kind": "chaos", "minutes": minutes}, {"kind": "skip", "per_minute": 3}, {"kind": "cut", "at": 9}]
    found = _first(asked, seed)
    assert found == _first(asked, seed)
    assert found != _first(asked, seed + 1)
    moments = [planned.at for planned in found]
    assert moments == sorted(moments)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers())
def test_chaos_draws_every_kind_that_it_has_within_its_minutes(seed: int) -> None:
    drawn = _first({"kind": "chaos", "minutes": 5, "symbols": ["BTCUSDT", "XRPUSDT"]}, seed)
    assert len(drawn) == 30
    assert {planned.fault.kind for planned in drawn} == {
        "cut", "silence", "server_shutdown", "rotate", "repeat", "reorder", "delay", "skip", "late_kline", "no_kline",
        "broken_json", "unknown_event", "non_ascii", "rest_error",
    }  # fmt: skip
    assert all(0 <= planned.at + getattr(planned.fault, "seconds", 0) <= 300 for planned in drawn)
    assert all(getattr(planned.fault, "symbol", "") in ("", "BTCUSDT", "XRPUSDT") for planned in drawn)


def test_chaos_with_a_seed_of_its_own_is_the_same_whatever_the_simulators() -> None:
    asked = {"kind": "chaos", "seed": 5}
    assert [p[:2] for p in _first(asked, 1)] == [p[:2] for p in _first(asked, 2)]


def test_moments_are_as_asked_for() -> None:
    assert [(p.at, p.fault) for p in _first({"kind": "cut", "at": 150, "every": 1800}, 7, 3)] == [
        (150, Cut()), (1950, Cut()), (3750, Cut()),
    ]  # fmt: skip
    assert [p.at for p in _first({"kind": "skip"}, 7)] == [0]
    drawn = [p.at for p in _first({"kind": "skip", "per_minute": 6}, 7, 600)]
    assert 5_000 < drawn[-1] < 7_000


def test_a_schedule_is_read_from_a_file_or_the_text_itself(tmp_path: Path) -> None:
    text = "- {kind: cut, at: 3}\n- {kind: skip, symbol: BTCUSDT, count: 2}\n"
    (tmp_path / "faults.yaml").write_text(text)
    for spec in (text, str(tmp_path / "faults.yaml")):
        assert [entry.what for entry in read(spec)] == [Cut(), SkipIds(symbol="BTCUSDT", count=2)]
    assert read("chaos") == entries({"kind": "chaos"})


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("{kind: cut, sekonds: 3}", "sekonds"),
        ("{kind: cut, seconds: -3}", "seconds"),
        ("{kind: flood}", "flood"),
        ("[", "YAML"),
        ("away.yaml", r"away\.yaml: cannot be read"),
        ("", "is no fault"),
        ("{kind: cut, every: 0}", "every"),
    ],
)
def test_a_wrong_schedule_is_refused_with_the_reason(spec: str, words: str) -> None:
    with pytest.raises(SimulatorError, match=words):
        read(spec)


def test_a_demo_plants_a_disconnect_in_its_third_minute_and_then_each_half_hour(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("SIMULATOR_FAULTS", "SIMULATOR_PLANTED_FAULTS"):
        monkeypatch.delenv(name, raising=False)
    planted = list(islice(plan(wanted_faults(Settings(CRYPTO_MODE="demo")), 7), 3))
    assert all(isinstance(one.fault, Cut) and one.fault.seconds == 20 and not one.fault.symbol for one in planted)
    assert 120 <= planted[0].at < 180
    assert planted[2].at - planted[1].at == 1800
    assert not wanted_faults(Settings(CRYPTO_MODE="demo", simulator_planted_faults=False))
    assert not wanted_faults(Settings(CRYPTO_MODE="live"))
    [wanted] = wanted_faults(Settings(CRYPTO_MODE="demo", simulator_faults="{kind: rotate}"))
    assert type(wanted.what) is kinds()["rotate"]
