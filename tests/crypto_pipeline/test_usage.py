"""What takes the room, by a real object store, and when the disk is full."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from crypto_pipeline import usage
from crypto_pipeline.reader import LakeError
from crypto_pipeline.usage import Growth, Span, days_until_full, growth, span_of
from shared.settings import Settings
from tests.crypto_pipeline.hudi_tables import base_file, log_file, put
from tests.servers import MinioServer, free_ports

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def never() -> datetime:
    raise AssertionError("the first partition need not be opened")


def hours(first: datetime, until: datetime, size: int) -> dict[Span, int]:
    """Partitions of an hour that hold so many bytes each."""
    count = int((until - first) / HOUR)
    starts = [first + number * HOUR for number in range(count)]
    return {Span(start, start + HOUR, f"{start:%Y-%m-%d}"): size for start in starts}


class TestGrowth:
    @given(st.integers(169, 1000), st.integers(1, 10**9))
    def test_it_is_the_pace_of_the_last_week_whatever_was_before(self, age: int, size: int) -> None:
        begins = NOW - age * HOUR
        held = hours(begins, NOW, size) | hours(begins - 30 * DAY, begins - 20 * DAY, 10**12)
        found = growth(held, NOW, never)
        assert found
        assert found.bytes_a_day == pytest.approx(24 * size)
        assert found.days == 7

    @given(st.integers(60, 7 * 24 * 60 - 60), st.integers(1, 10**6))
    def test_of_less_than_a_week_it_is_the_mean_since_the_data_begin(self, minutes: int, a_minute: int) -> None:
        begins = NOW - timedelta(minutes=minutes)
        held: dict[Span, int] = {}
        for minute in range(minutes):
            start = (begins + timedelta(minutes=minute)).replace(minute=0)
            span = Span(start, start + HOUR, "")
            held[span] = held.get(span, 0) + a_minute
        found = growth(held, NOW, lambda: begins)
        assert found
        assert found.bytes_a_day == pytest.approx(1440 * a_minute)
        assert found.days * 1440 == pytest.approx(minutes)

    @given(st.integers(1, 28), st.integers(0, 23), st.integers(1, 10**6))
    def test_months_tell_the_pace_of_the_whole_time_that_they_are_of(self, day: int, hour: int, an_hour: int) -> None:
        now = datetime(2026, 11, day, hour, tzinfo=UTC)
        october, november = (datetime(2026, month, 1, tzinfo=UTC) for month in (10, 11))
        held = {
            Span(datetime(2026, 9, 1, tzinfo=UTC), october, "2026-09"): 1,
            Span(october, november, "2026-10"): 31 * 24 * an_hour,
        }
        if now > november:
            held[Span(november, november + 30 * DAY, "2026-11")] = int((now - november) / HOUR) * an_hour
        found = growth(held, now, never)
        assert found
        assert found.bytes_a_day == pytest.approx(24 * an_hour)
        assert 7 <= found.days <= 38

    def test_an_import_of_past_years_is_none(self) -> None:
        recent = hours(NOW - 10 * DAY, NOW, 1000)
        found, imported = (growth(held, NOW, never) for held in (recent, hours(NOW - 900 * DAY, NOW, 1000)))
        assert found == imported

    def test_an_archive_that_has_each_hour_when_it_is_over_is_not_thought_to_be_slower(self) -> None:
        begins = NOW - 4 * HOUR
        found = growth(hours(begins, NOW, 1000), NOW + timedelta(minutes=50), lambda: begins)
        assert found
        assert found.bytes_a_day == pytest.approx(24_000)

    def test_what_has_not_grown_for_a_week_does_not_grow(self) -> None:
        found = growth(hours(NOW - 20 * DAY, NOW - 8 * DAY, 1000), NOW, never)
        assert found
        assert found.bytes_a_day == 0

    def test_of_less_than_an_hour_and_of_nothing_none_is_told(self) -> None:
        start = NOW - HOUR
        assert growth(hours(start, NOW, 1000), NOW, lambda: NOW - timedelta(minutes=59)) is None
        assert growth({}, NOW, never) is None


PACES = st.builds(Growth, st.floats(0, 10**9), st.just(7.0), st.none() | st.just(0.0) | st.floats(0.01, 1000))


@given(st.floats(0, 10**12), st.lists(PACES, max_size=6))
def test_what_is_free_is_used_up_when_the_days_are_over(free: float, growing: list[Growth]) -> None:
    days = days_until_full(free, growing)

    def used(after: float) -> float:
        return sum(one.bytes_a_day * min(after, after if one.for_days is None else one.for_days) for one in growing)

    if days is None:
        assert used(10**9) <= free * (1 + 1e-9) + 1
    else:
        assert used(days) == pytest.approx(free, rel=1e-6, abs=1)


@pytest.mark.parametrize("growing", [[], [Growth(0.0, 7)], [Growth(5.0, 7, 1.0)], [Growth(5e-324, 7)]])
def test_where_nothing_grows_for_long_the_disk_is_never_full(growing: list[Growth]) -> None:
    assert days_until_full(10, growing) is None


@pytest.mark.parametrize(
    ("path", "start", "length"),
    [
        ("date=2026-11-20/hour=08/a.parquet", "2026-11-20T08", HOUR),
        ("exchange=binance/symbol=X/date=2026-11-20/hour=23/1-2.jsonl.zst", "2026-11-20T23", HOUR),
        ("date=2026-11-20/a.parquet", "2026-11-20", DAY),
        ("interval=5m/month=2026-12/a.parquet", "2026-12-01", 31 * DAY),
    ],
)
def test_a_partition_says_its_time(path: str, start: str, length: timedelta) -> None:
    begins = datetime.fromisoformat(start).replace(tzinfo=UTC)
    assert span_of(path) == Span(begins, begins + length, "2026-12" if "month" in path else "2026-11-20")


@pytest.mark.parametrize("path", [".hoodie/hoodie.properties", "a.parquet", "date=__HIVE_DEFAULT_PARTITION__/a"])
def test_what_names_no_time_has_none(path: str) -> None:
    assert span_of(path) is None


class Sizes(dict[str, int]):
    """Bytes of what the lake of these tests holds."""


@pytest.fixture(scope="module")
def sizes(minio_server: MinioServer) -> Iterator[Sizes]:
    """Trades of two hours, an older version of which was replaced; candles of a month; the raw archive."""
    minio_server.clear()
    trades, candles = "bronze/trades/date=2026-11-21", "silver/ohlcv_1m/month=2026-11"
    at = NOW - 3 * HOUR
    time = "event_time"
    first = base_file(minio_server, f"{trades}/hour=09", {"BTCUSDT": 10}, instant=10, at=at, time=time)
    made = Sizes(
        older=first + log_file(minio_server, f"{trades}/hour=09", 500, instant=20),
        merged=base_file(
            minio_server, f"{trades}/hour=09", {"BTCUSDT": 300, "ETHUSDT": 100}, instant=30, at=at, time=time
        ),
        logs=log_file(minio_server, f"{trades}/hour=11", 2000, instant=40),
        candles=base_file(minio_server, candles, {"BTCUSDT": 60}, at=NOW - 10 * DAY, time="interval_start"),
        raw=put(minio_server, "raw/exchange=binance/symbol=ETHUSDT/date=2026-11-21/hour=10/1-2.jsonl.zst", b"r" * 700),
        staging=put(minio_server, "staging/left.parquet", b"s" * 30),
        timeline=2,  # `{}` of a commit
    )
    yield made
    minio_server.clear()


class TestLake:
    def test_each_table_says_what_it_holds_and_what_of_that_newer_versions_replaced(
        self, minio_server: MinioServer, sizes: Sizes
    ) -> None:
        found = usage.collect(minio_server.settings, now=NOW)
        told = {one.name: (len(one.objects), one.bytes, one.older_bytes) for one in found.folders}
        trades = sizes["older"] + sizes["merged"] + sizes["logs"] + 4 * sizes["timeline"]
        assert told == {
            "bronze.trades": (8, trades, sizes["older"]),
            "silver.ohlcv_1m": (2, sizes["candles"] + sizes["timeline"], 0),
            "raw": (1, sizes["raw"], 0),
            "staging": (1, sizes["staging"], 0),
        }
        assert [one.bytes for one in found.folders] == sorted((one.bytes for one in found.folders), reverse=True)

    def test_a_young_table_grows_since_its_first_row(self, minio_server: MinioServer, sizes: Sizes) -> None:
        found = {one.name: one.growth for one in usage.collect(minio_server.settings, now=NOW).folders}
        trades, candles = found["bronze.trades"], found["silver.ohlcv_1m"]
        assert trades
        assert trades.days == pytest.approx(3 / 24)
        assert trades.bytes_a_day == pytest.approx((sizes["merged"] + sizes["logs"]) * 8)
        assert candles
        assert candles.days == pytest.approx(10)
        assert candles.bytes_a_day == pytest.approx(sizes["candles"] / 10)
        assert found["staging"] is None

    def test_a_table_without_a_time_grows_since_its_first_hour_also_where_its_files_were_copied_here_later(
        self, minio_server: MinioServer, sizes: Sizes
    ) -> None:
        assert sizes
        day = "bronze/depth/date=2026-11-21"
        base_file(minio_server, f"{day}/hour=08", {"BTCUSDT": 90}, at=NOW, time="received_at")  # put there today
        log_file(minio_server, f"{day}/hour=11", 400, instant=20)
        [folder] = usage.collect(minio_server.settings, "bronze.depth", NOW).folders
        for key in minio_server.keys("bronze/depth/"):
            minio_server.client.delete_object(Bucket=minio_server.settings.bucket, Key=key)
        assert folder.growth
        assert folder.growth.days == pytest.approx(3 / 24)
        assert folder.growth.bytes_a_day == pytest.approx(400 * 8)

    def test_the_disk_is_full_when_the_growth_of_all_tables_has_filled_it(
        self, minio_server: MinioServer, sizes: Sizes
    ) -> None:
        found = usage.collect(minio_server.settings, now=NOW)
        grown = sum(one.growth.bytes_a_day for one in found.folders if one.growth)
        assert found.bytes_a_day == grown > 0
        assert found.disk
        [raw] = [one.growth for one in found.folders if one.name == "raw"]
        assert raw
        assert raw.for_days
        while_it_grows = raw.bytes_a_day * raw.for_days
        assert found.days_until_full == pytest.approx((found.disk.free - while_it_grows) / (grown - raw.bytes_a_day))
        assert usage.collect(minio_server.settings, "bronze.trades", NOW).days_until_full is None

    def test_the_lake_in_another_store_has_no_day_on_which_it_is_full(
        self, minio_server: MinioServer, sizes: Sizes
    ) -> None:
        elsewhere = {"s3_endpoint": minio_server.settings.s3_url}
        found = usage.collect(minio_server.settings.model_copy(update=elsewhere), now=NOW)
        assert found.bytes_a_day
        assert (found.disk, found.days_until_full) == (None, None)

    def test_days_are_those_of_the_data_and_sum_up_to_all(self, minio_server: MinioServer, sizes: Sizes) -> None:
        found = usage.collect(minio_server.settings, now=NOW)
        days = usage.by_day(found.folders)
        assert days["2026-11"].bytes == sizes["candles"]
        assert days["2026-11-21"].bytes == sizes["older"] + sizes["merged"] + sizes["logs"] + sizes["raw"]
        assert sum(held.bytes for held in days.values()) == sum(one.bytes for one in found.folders)
        assert sum(held.files for held in days.values()) == sum(len(one.objects) for one in found.folders)

    def test_a_symbol_has_its_share_by_rows_and_all_shares_sum_up_to_all(
        self, minio_server: MinioServer, sizes: Sizes
    ) -> None:
        settings = minio_server.settings
        [trades] = usage.collect(settings, "bronze.trades", NOW).folders
        shares = usage.by_symbol(settings, [trades])
        assert shares["BTCUSDT"].bytes == pytest.approx(trades.bytes * 3 / 4)
        assert shares["ETHUSDT"].bytes == pytest.approx(trades.bytes / 4)
        whole = usage.collect(settings, now=NOW).folders
        shares = usage.by_symbol(settings, whole)
        assert shares["ETHUSDT"].bytes == pytest.approx(trades.bytes / 4 + sizes["raw"])
        assert shares[""].bytes == sizes["staging"]
        assert sum(held.bytes for held in shares.values()) == pytest.approx(sum(one.bytes for one in whole))

    def test_a_damaged_file_is_counted_and_stops_nothing(self, minio_server: MinioServer, sizes: Sizes) -> None:
        settings, key = minio_server.settings, "gold/signals/month=2026-11/0-0_0-1-1_10.parquet"
        put(minio_server, key, b"no Parquet")
        try:
            [table] = usage.collect(settings, "gold.signals", NOW).folders
            assert {name: held.bytes for name, held in usage.by_symbol(settings, [table]).items()} == {"": 10}
        finally:
            minio_server.client.delete_object(Bucket=settings.bucket, Key=key)

    def test_what_cannot_be_asked_is_one_sentence_with_its_cure(self, minio_server: MinioServer, sizes: Sizes) -> None:
        def settings(**changes: object) -> Settings:
            return minio_server.settings.model_copy(update=changes)

        with pytest.raises(LakeError, match="holds nothing of silver"):
            usage.collect(minio_server.settings, "silver.ohlvc")
        with pytest.raises(LakeError, match=r"no bucket nowhere yet: \./deploy.sh"):
            usage.collect(settings(s3_bucket="nowhere"))
        with pytest.raises(LakeError, match="refuses our account"):
            usage.collect(settings(s3_secret_key=SecretStr("wrong-secret")))
        with pytest.raises(LakeError, match=r"nothing answers.*\./deploy.sh"):
            usage.collect(settings(minio_port=free_ports(1)[0]))


def test_a_folder_takes_what_it_takes_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRYPTO_HOME", str(tmp_path))
    settings = Settings()
    assert usage.beside(settings) == {}
    kafka, logs = settings.state / "kafka", settings.state / "log"
    for folder in (kafka, logs):
        folder.mkdir(parents=True)
    (logs / "a.log").write_bytes(b"x" * 100_000)
    (logs / "again.log").hardlink_to(logs / "a.log")
    with (kafka / "an.index").open("wb") as file:
        file.truncate(10_000_000)  # a hole, as Kafka's indexes have
    found = usage.beside(settings)
    assert list(found) == ["log", "kafka"]
    assert found["log"] == pytest.approx(100_000, abs=8192)
    assert (found["kafka"] or 0) < 8192
