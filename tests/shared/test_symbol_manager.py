import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from shared.symbol_manager import Symbol, SymbolsFileError, load_symbols, split_pair, symbol_of, topic

RIGHT = """\
tiers:
  majors:
    - {symbol: ETHUSDT, name: Ether, priority: 2}
    - {symbol: BTCUSDT, name: Bitcoin, priority: 1, streams: [trade]}
  watched:
    - {symbol: ADAUSDT, name: Cardano, enabled: false}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "symbols.yaml"
    path.write_text(RIGHT)
    return path


def test_the_enabled_symbols_come_the_most_important_first(file: Path) -> None:
    assert [entry.symbol for entry in load_symbols(file)] == ["BTCUSDT", "ETHUSDT"]


def test_active_symbols_chooses_once_each_whether_enabled_or_not(file: Path) -> None:
    assert [entry.symbol for entry in load_symbols(file, "adausdt, BTCUSDT,BTCUSDT")] == ["BTCUSDT", "ADAUSDT"]


def test_an_active_symbol_that_the_file_lacks_is_named(file: Path) -> None:
    with pytest.raises(SymbolsFileError, match="ACTIVE_SYMBOLS names SOLUSDT"):
        load_symbols(file, "SOLUSDT")


def test_the_project_s_own_file_is_right() -> None:
    path = Path(__file__).parents[2] / "config" / "symbols.yaml"
    assert len(load_symbols(path)) == 5


HEAD = "tiers:\n  a:\n    - {symbol: BTCUSDT, name: B}\n"


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        (f"{HEAD}    - {{symbol: ETHUSDT, name: E, streams: [trades]}}", 4, "streams.0: Input should be 'trade'"),
        (
            f"{HEAD}    - symbol: ETHUSDT\n      name: E\n      streams:\n        - trade\n        - gossip",
            8,
            "streams.1",
        ),
        (f"{HEAD}    - {{symbol: ETHUSDT, name: E, streams: [trade, trade]}}", 4, "streams names one twice"),
        (f"{HEAD}    - {{symbol: ETHUSDT, name: E, streams: []}}", 4, "at least 1 item"),
        (f"{HEAD}  b:\n    - {{symbol: BTCUSDT, name: B}}", 5, "BTCUSDT stands twice"),
        (f"{HEAD}    - {{symbol: ETHUSDT, name: E, prioritty: 1}}", 4, "Extra inputs are not permitted"),
        (f"{HEAD}    - {{symbol: ETHUSDT, name: E, priority: 0}}", 4, "greater than or equal to 1"),
        (f"{HEAD}    - {{symbol: ETHUSDT, name: E, name: F}}", 4, "'name' stands twice"),
        (f"{HEAD}    - {{symbol: ethusdt, name: E}}", 4, "String should match pattern"),
        (f"{HEAD}    - {{symbol: ETHFOO, name: E}}", 4, "the quote asset of ETHFOO is not known: give base and quote"),
        (f"{HEAD}    - {{symbol: ETHFOO, name: E, base: ETH, quote: BAR}}", 4, "ETH and BAR do not make ETHFOO"),
        (f"{HEAD}    - {{name: E}}", 4, "symbol"),
        (f"{HEAD}    - just text", 4, "valid dictionary"),
        (f"{HEAD}tears:\n  b: []", 4, "Extra inputs are not permitted"),
        (f"{HEAD}   - {{symbol: [", 4, "not YAML"),
        ("tiers:\n  a: *nothing", 2, "not YAML: found undefined alias"),
        ("tiers:\n  a: &a [*a]", 1, "not YAML that makes sense"),
        ("tiers: {[a]: b}", 1, "not YAML"),
        ("tiers: 2026-99-99", 1, "not YAML that makes sense"),
        ("- a\n- b", 1, "valid dictionary"),
        ("", 1, "is empty"),
        ("# nothing but a comment\n", 1, "is empty"),
        ("tiers: {a: [{symbol: BTCUSDT, name: B, enabled: false}]}", None, "no symbol is enabled"),
    ],
)
def test_a_wrong_file_is_refused_with_file_line_and_reason(
    file: Path, text: str, line: int | None, reason: str
) -> None:
    file.write_text(text)
    with pytest.raises(SymbolsFileError) as refusal:
        load_symbols(file)
    message = str(refusal.value)
    assert message.startswith(f"{file}:{line}: " if line else f"{file}: ")
    assert reason in message
    assert message.endswith(".")


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SymbolsFileError, match="cannot be read"):
        load_symbols(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"tiers: \xff")
    with pytest.raises(SymbolsFileError, match="not UTF-8"):
        load_symbols(tmp_path / "latin.yaml")


@given(st.binary(max_size=200))
def test_any_file_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(content)
    with contextlib.suppress(SymbolsFileError):
        load_symbols(path)


assets = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12).map(str.upper)


@given(assets, assets)
def test_a_symbol_survives_the_round_trip_to_its_topic(base: str, quote: str) -> None:
    try:
        entry = Symbol(symbol=base + quote, name="any", base=base, quote=quote)
    except ValidationError:
        return
    name = topic(entry.symbol)
    assert symbol_of(name) == entry.symbol
    assert len(name) <= 249
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789._-")


def test_the_topic_of_a_symbol_is_its_lower_case_and_escapes_what_kafka_forbids() -> None:
    assert topic("BTCUSDT") == "crypto_raw_btcusdt"
    assert topic("币USDT") == "crypto_raw_.e5.b8.81usdt"


@pytest.mark.parametrize("name", ["crypto_dead_letters", "crypto_raw_", "other", "crypto_raw_a.zz"])
def test_another_topic_has_no_symbol(name: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (a plain ValueError is the contract)
        symbol_of(name)


@pytest.mark.parametrize(
    ("symbol", "pair"),
    [
        ("BTCUSDT", ("BTC", "USDT")),
        ("ETHBTC", ("ETH", "BTC")),
        ("BTCFDUSD", ("BTC", "FDUSD")),
        ("USDTTRY", ("USDT", "TRY")),
        ("USDT", None),
        ("FOOBAR", None),
    ],
)
def test_a_pair_is_split_at_the_longest_quote_asset_that_is_known(symbol: str, pair: tuple[str, str] | None) -> None:
    assert split_pair(symbol) == pair
