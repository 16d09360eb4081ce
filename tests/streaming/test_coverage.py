from hypothesis import given
from hypothesis import strategies as st

from streaming.coverage import Coverage, Key

BTC, ETH = (Key("binance", symbol, "trade") for symbol in ("BTCUSDT", "ETHUSDT"))


def test_what_another_connection_carries_too_is_not_lost() -> None:
    coverage = Coverage()
    coverage.follow("binance", [BTC, ETH])
    assert coverage.carry("old", [BTC, ETH]) == []
    assert coverage.carry("new", [BTC]) == []
    assert coverage.end("old") == [ETH]
    assert coverage.carry("new", [BTC, ETH]) == [ETH]


def test_what_is_no_longer_wanted_is_neither_lost_nor_back() -> None:
    coverage = Coverage()
    coverage.follow("binance", [BTC, ETH])
    coverage.carry("one", [BTC, ETH])
    assert coverage.follow("binance", [BTC]) == {ETH}
    assert coverage.drop("one", [ETH]) == []
    assert coverage.end("one") == [BTC]
    coverage.follow("binance", [ETH])
    assert coverage.carry("two", [BTC, ETH]) == []


def test_what_is_unsubscribed_although_it_is_wanted_again_is_lost() -> None:
    coverage = Coverage()
    coverage.follow("binance", [BTC])
    coverage.carry("one", [BTC])
    assert coverage.drop("one", [BTC]) == [BTC]
    assert coverage.carry("one", [BTC]) == [BTC]


def test_a_silent_series_is_news_once_and_back_once() -> None:
    coverage = Coverage()
    coverage.follow("binance", [BTC])
    assert not coverage.fall_silent(BTC, 5), "nobody carries it: that is no silence"
    coverage.carry("one", [BTC])
    assert coverage.fall_silent(BTC, 5)
    assert not coverage.fall_silent(BTC, 9)
    assert coverage.silent == {BTC: 5}
    assert coverage.end("one") == [], "it was out already"
    assert coverage.silent == {}, "now there is nothing that could be heard"
    assert coverage.carry("two", [BTC]) == [BTC]
    assert coverage.fall_silent(BTC, 12)
    assert coverage.hear(BTC) == [BTC]
    assert coverage.hear(BTC) == []


keys = st.sets(st.integers(0, 4).map(lambda number: Key("binance", str(number), "trade")))
steps = st.lists(
    st.one_of(
        st.tuples(st.just("follow"), st.just(""), keys),
        st.tuples(st.sampled_from(["carry", "drop", "end"]), st.sampled_from("abc"), keys),
    ),
    max_size=30,
)


@given(steps)
def test_a_wanted_series_is_out_from_its_last_connection_on_until_the_next(
    steps: list[tuple[str, str, set[Key]]],
) -> None:
    coverage = Coverage()
    wanted: set[Key] = set()
    carried: dict[str, set[Key]] = {name: set() for name in "abc"}
    out: set[Key] = set()
    for step, name, some in steps:
        before = {key for key in wanted if any(key in load for load in carried.values())}
        told: set[Key] = set()
        match step:
            case "follow":
                wanted = some
                coverage.follow("binance", some)
                out &= wanted
                before &= wanted
            case "carry":
                carried[name] |= some
                told = set(coverage.carry(name, some))
            case "drop":
                carried[name] -= some
                told = set(coverage.drop(name, some))
            case "end":
                carried[name] = set()
                told = set(coverage.end(name))
        after = {key for key in wanted if any(key in load for load in carried.values())}
        if step == "carry":
            assert told == out & after
            out -= after
        elif step != "follow":
            assert told == before - after
            out |= before - after
