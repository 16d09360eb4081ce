"""The API over real servers."""

import io
import time
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import httpx
import psycopg
import pyarrow as pa
import pyarrow.csv
import pytest

from shared.settings import Settings
from tests.dashboard.conftest import HISTORY_MINUTES, Served, eventually, serving
from tests.dashboard.made_market import PAIRS, candle_row, kline, minute_bar, replace_candle, writer

MINUTE = 60_000_000


def this_minute() -> int:
    return int(time.time()) // 60 * MINUTE


def test_candles_have_each_minute_once_from_the_lake_to_the_one_that_is_made_now(served: Served) -> None:
    def up_to_now() -> list[dict[str, Any]] | None:
        rows = served.rows("candles", symbol="BTCUSDT", limit=1000)
        return rows if datetime.fromisoformat(rows[-1]["interval_start"]).timestamp() >= time.time() - 60 else None

    rows = eventually("the minute that is made now", up_to_now)
    starts = [datetime.fromisoformat(row["interval_start"]).timestamp() for row in rows]
    assert {later - earlier for earlier, later in pairwise(starts)} == {60}
    assert {row["status"] for row in rows} == {"complete", "live"}
    assert not rows[-1]["is_closed"]


def test_prices_are_exact_and_the_lakes(served: Served) -> None:
    start = this_minute() - 600 * MINUTE
    [row] = served.rows("candles", symbol="XRPUSDT", start=start // 10**6, end=start // 10**6 + 60)
    bar = minute_bar("XRPUSDT", start)
    assert (row["open"], row["volume"]) == (f"{bar.open.normalize():f}", f"{bar.volume.normalize():f}")


@pytest.mark.parametrize("interval", ["5m", "1h", "1d"])
def test_a_longer_candle_is_whole_while_it_is_made(served: Served, interval: str) -> None:
    def agrees() -> bool:
        last = served.rows("candles", symbol="ETHUSDT", interval=interval, limit=1)[-1]
        since = datetime.fromisoformat(last["interval_start"])
        minutes = served.rows("candles", symbol="ETHUSDT", limit=1500, start=since.isoformat())
        return (
            last["status"] == "live"
            and last["open"] == minutes[0]["open"]
            and last["trade_count"] == sum(row["trade_count"] for row in minutes)
        )

    eventually("the longer candle is the sum of its minutes", agrees)


def test_a_closed_candle_is_there_within_two_seconds_and_the_lakes_row_replaces_it(served: Served) -> None:
    start = this_minute() - MINUTE
    bar = minute_bar("SOLUSDT", start)._replace(is_closed=True)
    served.stream.send(kline("SOLUSDT", bar, 10**9))

    def closed() -> dict[str, object] | None:
        rows = served.rows("candles", symbol="SOLUSDT", start=start // 10**6, end=start // 10**6 + 60)
        return rows[0] if rows and rows[0]["is_closed"] else None

    assert eventually("the closed candle", closed, 2)["status"] == "live"
    with writer(served.postgres.settings) as connection:
        replace_candle(connection, candle_row("SOLUSDT", "1m", bar, status="repaired", revision=2))
    row = served.rows("candles", symbol="SOLUSDT", start=start // 10**6, end=start // 10**6 + 60)[0]
    assert (row["status"], row["revision"]) == ("repaired", 2)


def test_json_csv_and_arrow_say_the_same(served: Served) -> None:
    end = this_minute() // 10**6 - 3600
    wish = {"symbol": "BTCUSDT", "end": end, "limit": 50}
    rows = served.rows("candles", **wish)
    arrow = pa.ipc.open_stream(served.get("candles", format="arrow", **wish).content).read_all().to_pylist()
    table = pa.csv.read_csv(io.BytesIO(served.get("candles", format="csv", **wish).content)).to_pylist()
    assert len(rows) == len(arrow) == len(table) == 50
    for one, other, third in zip(rows, arrow, table, strict=True):
        assert datetime.fromisoformat(one["interval_start"]) == other["interval_start"]
        assert f"{other['close'].normalize():f}" == one["close"]
        assert third["close"] == pytest.approx(float(one["close"]))


def test_gold_is_filtered_by_its_key_and_gives_the_newest_of_each(served: Served) -> None:
    rows = served.rows("gold/risk_metrics", subject=["balanced", "BTCUSDT"], metric="volatility", latest=True)
    assert {(row["subject"], row["metric"]) for row in rows} == {("balanced", "volatility"), ("BTCUSDT", "volatility")}
    [total] = served.rows("gold/portfolio_performance", portfolio="balanced", asset="TOTAL", latest=True)
    assert isinstance(total["value"], str)


def test_completeness_and_gaps_tell_of_the_hole_and_its_repair(served: Served) -> None:
    hours = served.rows("completeness", by="hour", symbol="BTCUSDT")
    down = next(row for row in hours if row["minutes_repaired"])
    minutes = served.rows(
        "completeness", by="minute", symbol="BTCUSDT", start=down["hour_start"],
        end=datetime.fromtimestamp(datetime.fromisoformat(down["hour_start"]).timestamp() + 3600, UTC).isoformat(),
    )  # fmt: skip
    assert sum(row["status"] == "repaired" for row in minutes) == down["minutes_repaired"]
    [gap] = [row for row in served.rows("gaps", status="repaired") if row["event_time"] >= down["hour_start"]][:1]
    assert gap["repaired_from"] == "rest"


REFUSED = [
    ("candles", {}, 422, "symbol is missing"),
    ("candles", {"symbol": "BTC"}, 404, "Did you mean BTCUSDT?"),
    ("candles", {"symbol": "BTCUSDT", "exchange": "nowhere"}, 404, "There is binance"),
    ("candles", {"symbol": "BTCUSDT", "interval": "2m"}, 404, "1m"),
    ("candles", {"symbol": "BTCUSDT", "start": "2020-01-01T00:00:00Z"}, 400, "5000 is the most at once"),
    ("candles", {"symbol": "BTCUSDT", "start": "2026-01-02", "end": "2026-01-01"}, 400, "must lie before"),
    ("candles", {"symbol": "BTCUSDT", "start": "yesterday"}, 422, "start is 'yesterday'"),
    ("candles", {"symbol": "BTCUSDT", "limit": 10**9}, 422, "less than or equal to 5000"),
    ("candles", {"symbol": "BTCUSDT", "limit": 0}, 422, "greater than or equal to 1"),
    ("candles", {"symbol": "BTCUSDT", "begin": 1}, 400, "there is end, exchange"),
    ("candles", {"symbol": "BTCUSDT", "format": "xml"}, 422, "'json', 'csv' or 'arrow'"),
    ("candles", {"symbol": "BTCUSDT'; DROP TABLE silver.fact_ohlcv; --"}, 404, "There is no symbol"),
    ("indicators", {"symbol": "BTCUSDT", "columns": "1;select"}, 404, "There is no indicator"),
    ("gold/secrets", {}, 404, "market_overview"),
    ("gold/risk_metrics", {"value": 3}, 400, "filter by exchange"),
    ("gold/risk_metrics", {"confidence": "1 OR 1=1"}, 400, "integer"),
    ("completeness", {"by": "minute", "symbol": "BTCUSDT"}, 400, "an hour at most"),
    ("completeness", {"by": "month"}, 422, "'minute', 'hour' or 'day'"),
    ("gaps", {"status": "gone"}, 422, "'open', 'repaired'"),
    ("changes", {}, 422, "since is missing"),
    ("alerts", {"state": "gone"}, 422, "'active' or 'past'"),
    ("alerts", {"severity": "loud"}, 422, "'info', 'warning' or 'critical'"),
    ("alerts", {"rule": "x" * 61}, 422, "at most 60 characters"),
    ("alerts", {"start": "2026-01-02", "end": "2026-01-01"}, 400, "must lie before"),
    ("alerts", {"symbol": "BTCUSDT"}, 400, "there is end, format, limit, rule, severity, start, state, subject"),
    ("nothing", {}, 404, "/docs lists what there is"),
]


@pytest.mark.parametrize(("path", "values", "status", "said"), REFUSED)
def test_a_wrong_request_is_refused_with_a_sentence_that_says_what_is_right(
    served: Served, path: str, values: dict[str, object], status: int, said: str
) -> None:
    response = served.get(path, **values)
    assert response.status_code == status
    assert said in response.json()["error"]
    assert "\n" not in response.json()["error"]


def test_the_reader_cannot_write(served: Served) -> None:
    with (
        psycopg.connect(served.postgres.settings.serving_reader_url) as reader,
        pytest.raises(psycopg.errors.ReadOnlySqlTransaction),
    ):
        reader.execute("DELETE FROM silver.fact_ohlcv")


def test_the_api_describes_itself(served: Served) -> None:
    paths = served.get("openapi.json").json()["paths"]
    assert {"/api/v1/candles", "/api/v1/indicators", "/api/v1/gold/{name}", "/api/v1/completeness"} <= set(paths)
    assert "post" in paths["/api/v1/alerts/{number}/acknowledge"]
    for path, methods in paths.items():
        assert all(what["description"] for what in methods.values()), path


def test_nothing_comes_from_another_host(served: Served) -> None:
    assert httpx.get(served.url).headers["content-security-policy"].startswith("default-src 'self';")


def test_who_asks_too_often_is_refused(settings: Settings) -> None:
    address = serving(settings.model_copy(update={"dashboard_requests_per_minute": 3}))
    url = next(address)
    answers = [httpx.get(f"{url}/api/v1/about") for _ in range(5)]
    assert [answer.status_code for answer in answers][:3] == [200, 200, 200]
    assert answers[-1].status_code == 429
    assert "DASHBOARD_REQUESTS_PER_MINUTE" in answers[-1].json()["error"]
    next(address, None)


def test_symbols_name_their_tick(served: Served) -> None:
    found = {row["symbol"]: row for row in served.get("symbols").json()["symbols"]}
    assert set(found) == set(PAIRS)
    assert found["XRPUSDT"]["tick_size"] == "0.0001"
    assert len(served.rows("candles", symbol="XRPUSDT", interval="1h")) >= HISTORY_MINUTES // 60


def test_a_symbol_that_the_exchange_lists_and_nobody_streams_is_not_offered(served: Served) -> None:
    symbols = {row["symbol"] for row in served.get("symbols").json()["symbols"]}
    assert symbols == set(PAIRS)
