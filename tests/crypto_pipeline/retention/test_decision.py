"""What goes at a time: never what is younger, unproven or for ever; and running twice is running once."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from crypto_pipeline.expired import midnight
from crypto_pipeline.retention.decision import Size, Unit, decided, due
from shared.retention import Rules

DAY = timedelta(days=1)
SYMBOLS = ("BTCUSDT", "ETHUSDT", "_other")
SPANS = st.none() | st.integers(3, 400).map(lambda days: days * DAY)
RULES = st.builds(
    Rules,
    kafka=st.just(2 * DAY),
    kafka_bytes=st.just(1),
    raw=SPANS,
    raw_by_symbol=st.dictionaries(st.sampled_from(SYMBOLS), SPANS),
    tables=st.fixed_dictionaries({"bronze.depth": SPANS, "bronze.tickers": SPANS}),
    runs=st.just(14 * DAY),
)
DAYS = st.dates(date(2025, 1, 1), date(2026, 12, 31))
UNITS = st.one_of(
    st.builds(Unit, st.just("raw"), st.just("binance"), st.sampled_from(SYMBOLS), DAYS),
    st.builds(
        Unit, st.sampled_from(["bronze.depth", "bronze.tickers", "bronze.trades"]), st.just(""), st.just(""), DAYS
    ),
)
HELD = st.dictionaries(UNITS, st.builds(Size, st.integers(1, 99), st.integers(0, 10**12)), max_size=30)
NOW = st.integers(0, 730 * 24).map(lambda hours: datetime(2025, 6, 1, tzinfo=UTC) + timedelta(hours=hours))


@given(HELD, RULES, NOW, st.sets(UNITS))
def test_what_goes_is_old_enough_and_proven_and_never_of_what_is_kept_for_ever(
    held: Mapping[Unit, Size], rules: Rules, now: datetime, faulty: set[Unit]
) -> None:
    found = decided(held, rules, now, lambda units: {unit: "a fault" for unit in units if unit in faulty})
    for unit, size in found.goes.items():
        keep = rules.keep(unit.what, unit.symbol)
        assert keep is not None
        assert midnight(unit.day) + DAY + keep <= now, "something of the day is younger"
        assert unit.what != "bronze.trades"
        assert unit not in faulty
        assert size == held[unit]
    assert not found.goes.keys() & found.stays.keys()
    assert set(found.stays) == faulty & set(due(held, rules, now)), "what stays is said"
    assert found.bytes == sum(held[unit].bytes for unit in found.goes)


@given(HELD, RULES, NOW, st.timedeltas(timedelta(0), timedelta(days=500)))
def test_what_is_old_enough_is_so_for_ever_after(
    held: Mapping[Unit, Size], rules: Rules, now: datetime, later: timedelta
) -> None:
    assert set(due(held, rules, now)) <= set(due(held, rules, now + later))


@given(HELD, RULES, NOW)
def test_once_it_is_gone_nothing_more_goes(held: Mapping[Unit, Size], rules: Rules, now: datetime) -> None:
    first = decided(held, rules, now, lambda _units: {})
    left = {unit: size for unit, size in held.items() if unit not in first.goes}
    assert not decided(left, rules, now, lambda _units: {}).goes


@given(HELD, RULES, NOW)
def test_a_reason_for_what_nobody_asked_about_keeps_nothing(
    held: Mapping[Unit, Size], rules: Rules, now: datetime
) -> None:
    foreign = Unit("raw", "elsewhere", "X", date(2020, 1, 1))
    assert not decided(held, rules, now, lambda _units: {foreign: "no"}).stays
