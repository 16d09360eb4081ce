"""What is played is what was received, in order and to the byte; else what bronze has."""

import shutil
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from crypto_pipeline import utc
from crypto_pipeline.replay.stored import MINUTE, Stored, Wanted, best
from shared.settings import Settings
from streaming.archive import HOUR, raw_folder
from streaming.replay import ReplayError
from tests.crypto_pipeline.replay.conftest import (
    FRAMES,
    NAME,
    START,
    TRADES,
    Look,
    archive,
    body,
    kline_frame,
    kline_row,
    trade_frame,
    trade_row,
)
from tests.crypto_pipeline.stored_tables import Tables


def test_frames_are_played_to_the_byte_and_in_the_order_of_receipt(settings: Settings, looked: Look) -> None:
    archive(settings, FRAMES[::2], name="100000-0")
    archive(settings, FRAMES[1::2], name="100001-0")  # another file of the same hour: streaming began anew
    stored = looked(START, START + HOUR)
    assert [(message.at, message.body) for message in stored.messages()] == FRAMES
    assert stored.found.streams == {NAME: Counter({"btcusdt@trade": TRADES // 2, "btcusdt@kline_1m": 59})}
    assert stored.found.archived == stored.found.count == len(FRAMES)


def test_a_minute_without_a_frame_is_made_of_rows(settings: Settings, looked: Look) -> None:
    silent = range(START + 20 * MINUTE, START + 23 * MINUTE)
    archive(settings, [frame for frame in FRAMES if frame[0] not in silent])
    stored = looked()
    played = list(stored.messages())
    assert all(one.at <= other.at for one, other in pairwise(played))
    trades = [message for message in played if message.stream == "btcusdt@trade"]
    assert [message.body for message in trades] == [trade_frame(number) for number in range(TRADES)]
    klines = [message.body for message in played if message.stream == "btcusdt@kline_1m"]
    assert klines == [kline_frame(number) for number in range(-1, 119)][1:]
    books = [message.at for message in played if message.stream == "btcusdt@depth5"]
    assert books == [START + number * MINUTE for number in (20, 21, 22, *range(60, 120))]
    found = stored.found
    assert found.count == len(played)
    assert found.archived == sum(1 for at, _ in FRAMES if at not in silent)
    assert found.holes == {NAME: 2}


@hypothesis_settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.integers(0, 2 * HOUR - 1), st.sampled_from(["BTCUSDT", "ETHUSDT", "ЖUSDT"]), st.text(max_size=5)),
        min_size=1,
        max_size=60,
    ),
    st.integers(1, 3),
)
def test_whatever_was_archived_is_played_once_in_order_and_to_the_byte(
    settings: Settings, no_lake: None, frames: list[tuple[int, str, str]], parts: int
) -> None:
    made = sorted(
        ((START + at, symbol, body(f"{symbol.lower()}@trade", e=text, s=symbol)) for at, symbol, text in frames),
        key=lambda frame: frame[0],
    )
    for symbol in {symbol for _, symbol, _ in made}:
        mine = [(at, text) for at, name, text in made if name == symbol]
        for part in range(parts):
            for hour in (0, 1):
                inside = [frame for frame in mine[part::parts] if frame[0] // HOUR == START // HOUR + hour]
                archive(settings, inside, symbol, f"10000{part}-0")
    stored = Stored(settings, Wanted(START, START + 2 * HOUR))
    stored.look()
    played = list(stored.messages())
    assert [message.at for message in played] == [at for at, _, _ in made]
    assert Counter(message.body for message in played) == Counter(text for _, _, text in made)
    for symbol in ("BTCUSDT", "ETHUSDT", "ЖUSDT"):
        mine = [message.at for message in played if message.stream.startswith(symbol.lower())]
        assert mine == [at for at, name, _ in made if name == symbol]
    shutil.rmtree(raw_folder(settings))


def test_only_the_symbols_that_were_asked_for_are_played(settings: Settings, looked: Look) -> None:
    archive(settings, FRAMES)
    archive(settings, [(at, text.replace(b"BTC", b"ETH").replace(b"btc", b"eth")) for at, text in FRAMES], "ETHUSDT")
    assert set(looked(START, START + HOUR).found.streams) == {NAME, "ETHUSDT"}
    stored = looked(START, START + HOUR, "ETHUSDT")
    assert {message.stream for message in stored.messages()} == {"ethusdt@trade", "ethusdt@kline_1m"}


def test_what_came_by_rest_stands_where_it_happened(settings: Settings, lake: Tables) -> None:
    lake.has("bronze.trades", [trade_row(5, received_at=None, published_at=None, source="archive")])
    lake.has("bronze.klines", [kline_row(5, received_at=None, source="rest")])
    lake.has("bronze.depth", [])
    lake.has("bronze.tickers", [])
    stored = Stored(settings, Wanted(START, START + HOUR, (NAME,)))
    stored.look()
    trade, kline = stored.messages()
    assert trade.at == utc.micros(trade_row(5)["event_time"])
    assert kline.at == START + 6 * MINUTE
    assert b'"x":true' in kline.body


def test_of_two_sources_of_a_candle_the_better_one_is_played() -> None:
    [row] = best([kline_row(5, source="archive"), kline_row(5, source="websocket"), kline_row(5, source="rest")])
    assert row["source"] == "websocket"


def test_frames_that_name_no_stream_are_counted_and_not_played(settings: Settings, looked: Look) -> None:
    archive(settings, [*FRAMES, (START + HOUR - 1, b'{"result":null,"id":1}'), (START + HOUR - 1, b"\xff")])
    stored = looked(START, START + HOUR)
    assert stored.found.nameless == 2
    assert sum(1 for _ in stored.messages()) == len(FRAMES)


@pytest.mark.parametrize(
    ("start", "symbols", "words"),
    [
        (
            START + 48 * HOUR,
            (NAME,),
            "Nothing of BTCUSDT is stored from .*: the raw archive has 20.*, and the lake has",
        ),
        (START + 48 * HOUR, (), "Nothing is stored from .*: the raw archive has 20.*, and the lake has the days from"),
        (START, ("DOGEUSDT",), "Nothing of DOGEUSDT is stored. There is: .*BTCUSDT"),
        (START, (NAME, "DOGEUSDT"), "Nothing of DOGEUSDT"),
    ],
)
def test_a_range_that_is_not_stored_is_refused_with_what_there_is(
    settings: Settings, looked: Look, start: int, symbols: tuple[str, ...], words: str
) -> None:
    archive(settings, FRAMES)
    with pytest.raises(ReplayError, match=words):
        looked(start, start + HOUR, *symbols)


def test_an_empty_lake_is_refused_with_the_cure(settings: Settings, lake: Tables) -> None:
    lake.stored.clear()
    with pytest.raises(ReplayError, match=r"Nothing is stored yet: \./deploy\.sh"):
        Stored(settings, Wanted(START, START + HOUR)).look()
