"""What lay in a damaged part of the spool is named by what lies around it."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from shared.events import AnyEvent, encode
from streaming.seams import Lost, Seams, Unread
from streaming.series import MINUTE
from streaming.spool import Damage, Record
from tests.events import START, depth_event, kline_event, trade_event


def record(event: AnyEvent) -> Record:
    return Record("topic", b"key", encode(event), ())


def told(before: list[AnyEvent], behind: list[AnyEvent], lost: int = 1) -> list[Lost | Unread]:
    """What is known once all has left a spool that is damaged between the two."""
    seams = Seams()
    found = [one for event in before for one in seams.passed(record(event))]
    assert not found
    seams.torn(Damage("7.damaged", lost, b"?"))
    return [one for event in behind for one in seams.passed(record(event))] + seams.emptied()


def ranges(found: list[Lost | Unread]) -> list[tuple[str, int, int | None]]:
    return [(one.stream, one.first, one.last) for one in found if isinstance(one, Lost)]


def test_the_trades_between_the_last_before_it_and_the_next_behind_it_are_lost() -> None:
    found = told([trade_event(4), trade_event(5)], [trade_event(9), trade_event(10), trade_event(15)])
    assert ranges(found) == [("trade", 6, 8)]
    [lost] = [one for one in found if isinstance(one, Lost)]
    assert (lost.exchange, lost.symbol, lost.base_asset, lost.time) == ("binance", "BTCUSDT", "BTC", START + 5)


def test_where_no_trade_lay_in_it_none_is_lost() -> None:
    assert ranges(told([trade_event(4)], [trade_event(5), trade_event(9)])) == []


def test_a_late_or_repeated_trade_behind_it_does_not_hide_what_is_lost() -> None:
    assert ranges(told([trade_event(4), trade_event(5)], [trade_event(3), trade_event(5), trade_event(9)])) == [
        ("trade", 6, 8)
    ]


def test_a_series_of_which_nothing_follows_is_lost_up_to_its_newest() -> None:
    assert ranges(told([trade_event(5)], [])) == [("trade", 6, None)]


def test_a_closed_kline_between_two_others_is_lost_and_an_open_one_is_none() -> None:
    first, open_one = kline_event(START), kline_event(START + MINUTE, is_closed=False)
    found = ranges(told([first, open_one], [kline_event(START + 2 * MINUTE)]))
    assert found == [("kline_1m", START + MINUTE, START + MINUTE)]


def test_pages_of_rest_of_two_holes_are_not_taken_for_a_loss() -> None:
    by_rest = [trade_event(number, "rest") for number in (5, 6, 900, 901)]
    assert ranges(told(by_rest[:2], by_rest[2:], lost=3)) == []
    assert ranges(told(by_rest[:1], [trade_event(8, "rest")], lost=3)) == [("trade", 6, 7)]


def test_what_is_no_event_is_passed_over() -> None:
    seams = Seams()
    assert [seams.passed(Record("t", b"k", value, ())) for value in (b"", b"12", b"\xff", b"[]", b"{}")] == [[]] * 5


def test_it_says_when_what_was_lost_was_received_and_how_it_comes_again() -> None:
    before, behind = depth_event(START), depth_event(START + 5_000_000)
    [unread] = told([before], [behind], lost=3)
    assert isinstance(unread, Unread)
    assert (unread.since, unread.until) == (before.received_at, behind.received_at)
    text = str(unread)
    assert "up to 3 messages" in text
    assert "7.damaged" in text
    assert "crypto replay --from 20" in text


@given(st.lists(st.sampled_from(["BTCUSDT", "ETHUSDT"]), min_size=1, max_size=40), st.data())
def test_every_lost_trade_of_a_series_that_came_before_is_named_and_no_other(
    symbols: list[str], data: st.DataObject
) -> None:
    events = [
        replace(trade_event(symbols[:place].count(symbol) + 1), symbol=symbol) for place, symbol in enumerate(symbols)
    ]
    begin = data.draw(st.integers(0, len(events)))
    end = data.draw(st.integers(begin, len(events)))
    before, lost, behind = events[:begin], events[begin:end], events[end:]
    found = [one for one in told(before, behind, len(lost)) if isinstance(one, Lost)]
    named = {
        (one.symbol, number)
        for one in found
        for number in range(one.first, (symbols.count(one.symbol) if one.last is None else one.last) + 1)
    }
    known = {event.symbol for event in before}
    assert named == {(event.symbol, event.trade_id) for event in lost if event.symbol in known}
