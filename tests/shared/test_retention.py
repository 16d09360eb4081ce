"""How long what is kept, as people write it."""

from datetime import timedelta
from pathlib import Path

import pytest

from shared.retention import RetentionFileError, load_kafka, load_rules
from shared.settings import Settings

DAYS = timedelta(days=1)
SHIPPED = Settings().retention_file.read_text(encoding="utf-8")


def written(tmp_path: Path, text: str) -> Settings:
    file, symbols = tmp_path / "retention.yaml", tmp_path / "symbols.yaml"
    file.write_text(text, encoding="utf-8")
    symbols.write_text(
        "tiers:\n"
        "  majors: [{symbol: BTCUSDT, name: Bitcoin, priority: 1, enabled: true, streams: [trade]}]\n"
        "  watched: [{symbol: ADAUSDT, name: Cardano, priority: 2, enabled: false, streams: [trade]}]\n"
    )
    return Settings(retention_file=file, symbols_file=symbols)


def changed(tmp_path: Path, old: str, new: str) -> Settings:
    assert old in SHIPPED
    return written(tmp_path, SHIPPED.replace(old, new, 1))


def test_as_it_comes_it_keeps_what_nobody_can_make_again() -> None:
    rules = load_rules(Settings())
    assert (rules.kafka, rules.kafka_bytes) == (2 * DAYS, 2 << 30)
    assert rules.keep("raw", "BTCUSDT") == 30 * DAYS
    assert rules.keep("bronze.depth") == 90 * DAYS
    assert rules.runs == 14 * DAYS
    for table in ("bronze.trades", "bronze.klines", "bronze.tickers", "silver.ohlcv_1m", "silver.ohlcv"):
        assert rules.keep(table) is None


def test_a_tier_has_a_time_of_its_own(tmp_path: Path) -> None:
    rules = load_rules(changed(tmp_path, "tiers: {}", "tiers: {majors: forever, watched: 7d}"))
    assert rules.keep("raw", "BTCUSDT") is None
    assert rules.keep("raw", "ADAUSDT") == 7 * DAYS
    assert rules.keep("raw", "OTHER") == 30 * DAYS


def test_kafka_is_told_without_the_symbols(tmp_path: Path) -> None:
    chosen = changed(tmp_path, "keep: 48h", "keep: 7d")
    chosen.symbols_file.unlink()
    assert load_kafka(chosen.retention_file) == (7 * DAYS, 2 << 30)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("keep: 30d", "keep: 30", ":7: raw.keep: 30 is no time to keep something: write 30d, 48h or forever."),
        ("keep: 30d", "keep: 0d", ":7: raw.keep: '0d' is no time to keep something"),
        ("keep: 30d", "keep: -3d", "is no time to keep something"),
        ("keep: 30d", "keep: 1d", ":7: raw.keep: it goes by whole days, 3 at least"),
        ("depth5: 90d", "depth5: 100h", "bronze.depth5: it goes by whole days"),
        ("trade: forever", "trade: 90d", ":10: bronze.trade: candles are proven by it, so it never goes"),
        ("kline_1m: forever", "kline_1m: 1d", "bronze.kline_1m: candles are proven by it"),
        ("keep: 48h", "keep: forever", ":4: kafka.keep: it is to have an end: write 48h or 14d."),
        ("runs: 14d", "runs: forever", "dagster.runs: it is to have an end"),
        ("megabytes: 2048", "megabytes: 1", ":5: kafka.megabytes: Input should be greater than or equal to 128"),
        ("tiers: {}", "tiers: {major: 7d}", ":8: raw.tiers.major: symbols.yaml has no such tier. It has: majors,"),
        ("tiers: {}", "tiers: {majors: soon}", "raw.tiers.majors: 'soon' is no time"),
        ("depth5: 90d", "depth: 90d", "bronze."),
        ("dagster:", "raw: 30d\ndagster:", "'raw' stands twice."),
        (SHIPPED, "", "is empty; it needs `kafka`, `raw`, `bronze` and `dagster`."),
        ("keep: 48h", "keep: [", "not YAML"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_refused_with_line_and_cure(tmp_path: Path, old: str, new: str, says: str) -> None:
    chosen = changed(tmp_path, old, new)
    with pytest.raises(RetentionFileError) as refused:
        load_rules(chosen)
    assert str(refused.value).startswith(f"{chosen.retention_file}:")
    assert says in str(refused.value)
