"""What there is in a real bucket of the raw archive, and how it goes from there."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

from crypto_pipeline.reader import LakeError
from crypto_pipeline.retention.decision import Size, Unit
from crypto_pipeline.retention.held import held, remove
from deployment import bucket
from shared.retention import Rules, load_rules
from shared.settings import Settings
from tests.crypto_pipeline.hudi_tables import put
from tests.deployment.test_bucket import keys
from tests.servers import MinioServer

BTC, ODD = "exchange=binance/symbol=BTCUSDT", "exchange=binance/symbol=%E5%B8%81USDT"
RULES = load_rules(Settings())
FOREVER: Rules = replace(RULES, raw=None, tables={})


@pytest.fixture
def filled(minio_server: MinioServer) -> Iterator[MinioServer]:
    minio_server.clear()
    for name in (
        f"{BTC}/date=2026-08-01/hour=00/000000-0.jsonl.zst",
        f"{BTC}/date=2026-08-01/hour=23/230000-0.jsonl.zst",
        f"{BTC}/date=2026-08-02/hour=00/000000-0.jsonl.zst",
        f"{ODD}/date=2026-08-01/hour=05/050000-1.jsonl.zst",
        f"{BTC}/date=2026-08-01/hour=00/notes.txt",
    ):
        put(minio_server, f"raw/{name}", b"x" * 10)
    put(minio_server, "silver/ohlcv/date=2026-08-01/a", b"x")
    yield minio_server
    minio_server.clear()


def unit(symbol: str, day: int) -> Unit:
    return Unit("raw", "binance", symbol, date(2026, 8, day))


def test_the_archive_is_held_by_symbol_and_day(filled: MinioServer) -> None:
    assert held(filled.settings, RULES) == {
        unit("BTCUSDT", 1): Size(2, 20),
        unit("BTCUSDT", 2): Size(1, 10),
        unit("币USDT", 1): Size(1, 10),
    }
    assert held(filled.settings, FOREVER) == {}


def test_what_goes_is_removed_and_nothing_beside_it_and_twice_is_once(filled: MinioServer) -> None:
    before = set(filled.keys())
    for _ in range(2):
        remove(filled.settings, [unit("BTCUSDT", 1), unit("币USDT", 1)])
        gone = before - set(filled.keys())
        assert gone == {name for name in before if "date=2026-08-01/hour" in name and name.endswith(".zst")}


def test_the_account_of_the_lake_removes_and_that_of_streaming_does_not(filled: MinioServer) -> None:
    given: dict[str, Any] = keys()
    settings = filled.settings.model_copy(update=given)
    bucket.prepare(settings)
    with pytest.raises(LakeError, match="refuses our account"):
        remove(settings.as_account("streaming"), [unit("BTCUSDT", 2)])
    with pytest.raises(LakeError, match=r"cannot be removed|refuses our account"):
        remove(settings.as_account("reader"), [unit("BTCUSDT", 2)])
    assert f"raw/{BTC}/date=2026-08-02/hour=00/000000-0.jsonl.zst" in filled.keys()  # noqa: SIM118 (a method of the server)
    remove(settings.as_account("lake"), [unit("BTCUSDT", 2)])
    assert not [name for name in filled.keys() if timed(name) == date(2026, 8, 2)]  # noqa: SIM118


def timed(name: str) -> date:
    return date(2026, 8, 1) + timedelta(days="date=2026-08-02" in name)


def test_where_no_store_answers_it_is_said(filled: MinioServer) -> None:
    away = filled.settings.model_copy(update={"minio_port": 1})
    with pytest.raises(LakeError, match="The lake is not running"):
        held(away, RULES)
