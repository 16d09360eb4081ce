"""The versions of candles, as both engines show them."""

from crypto_pipeline.silver import ohlcv, ohlcv_1m
from crypto_pipeline.silver.ohlcv_revisions import VIEW
from tests.crypto_pipeline.engines import Engine, candle, minute, version


def test_every_version_of_a_closed_candle_is_there_with_when_it_was_known(engine: Engine) -> None:
    engine.has(ohlcv_1m.TABLE, [candle(0, 3, known_at=9, superseded=[version(1, 1, 2, 5), version(2, 2, 5, 9)])])
    engine.has(ohlcv.TABLE, [candle(0, 7, "5m", known_at=6), candle(5, 8, "5m", is_closed=False)])
    names = "interval, revision, close, known_from, known_to"
    rows = engine.ask(f"SELECT {names} FROM silver.ohlcv_revisions ORDER BY interval, revision", VIEW)
    assert [tuple(row.values()) for row in rows] == [
        ("1m", 1, 1, minute(2), minute(5)),
        ("1m", 2, 2, minute(5), minute(9)),
        ("1m", 3, 3, minute(9), None),
        ("5m", 1, 7, minute(6), None),
    ]


def test_a_version_bears_what_it_was_and_the_candle_what_it_is(engine: Engine) -> None:
    earlier = version(1, 1, 2, 5, status="partial", source="trades", trade_count=4)
    engine.has(ohlcv_1m.TABLE, [candle(0, 3, known_at=5, superseded=[earlier], source="rest", trade_count=6)])
    first, now = engine.ask("SELECT * FROM silver.ohlcv_revisions ORDER BY revision", VIEW)
    assert (first["status"], first["source"], first["trade_count"]) == ("partial", "trades", 4)
    assert (now["status"], now["source"], now["trade_count"]) == ("complete", "rest", 6)
    same = ("exchange", "symbol", "base_asset", "interval_start", "interval_end", "is_closed", "minutes_expected")
    assert [first[name] for name in same] == [now[name] for name in same]
