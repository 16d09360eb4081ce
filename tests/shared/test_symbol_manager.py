import contextlib
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from shared.symbol_manager import (
    Listed,
    Selector,
    Symbol,
    SymbolsFileError,
    Watchlist,
    load_symbols,
    load_watchlist,
    named_symbols,
    resolved,
    split_pair,
    symbol_of,
    topic,
)

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
        (f"{HEAD}    - {{quote: USDT, top: 0}}", 4, "tiers.a.1.top: Input should be greater than or equal to 1"),
        (f"{HEAD}    - {{quote: USDT, top: many}}", 4, "valid integer"),
        (f"{HEAD}    - {{quote: USDT}}", 4, "tiers.a.1.top: Field required"),
        (f"{HEAD}    - {{top: 5}}", 4, "tiers.a.1.quote: Field required"),
        (f"{HEAD}    - {{quote: usdt, top: 5}}", 4, "String should match pattern"),
        (f"{HEAD}    - quote: USDT\n      top: 5\n      streams: [gossip]", 6, "tiers.a.1.streams.0"),
        (f"{HEAD}    - {{quote: USDT, top: 5, symbol: ETHUSDT}}", 4, "Extra inputs are not permitted"),
        (f"{HEAD}    - {{quote: USDT, top: 5, streams: [trade, trade]}}", 4, "streams names one twice"),
        (f"{HEAD}    - {{quote: USDT, top: 5}}\n    - {{quote: USDT, top: 5}}", 5, "quote=USDT top=5 stands twice"),
        ("tiers: {a: [{quote: USDT, top: 5, enabled: false}]}", None, "no symbol is enabled"),
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


SELECTING = """\
tiers:
  majors:
    - {symbol: BTCUSDT, name: Bitcoin, priority: 1, streams: [trade]}
  many:
    - {quote: USDT, top: 3, exchanges: [binance], priority: 60, streams: [trade, kline_1m], enabled: true}
    - {quote: BTC, top: 1, priority: 20}
    - {quote: EUR, top: 9, enabled: false}
    - {symbol: DOGEUSDT, name: Dogecoin, enabled: false}
"""


def test_selectors_stand_between_symbols(file: Path) -> None:
    file.write_text(SELECTING)
    watchlist = load_watchlist(file)
    assert [entry.symbol for entry in watchlist.symbols] == ["BTCUSDT"]
    assert [str(selector) for selector in watchlist.selectors] == ["quote=BTC top=1", "quote=USDT top=3"]
    assert watchlist.disabled == {"DOGEUSDT"}
    assert load_symbols(file) == watchlist.symbols
    assert {entry.symbol for entry in named_symbols(file)} == {"BTCUSDT", "DOGEUSDT"}


def test_a_file_may_have_nothing_but_selectors(file: Path) -> None:
    file.write_text("tiers: {a: [{quote: USDT, top: 5}]}")
    assert load_watchlist(file).symbols == ()


def test_active_symbols_silences_the_selectors(file: Path) -> None:
    file.write_text(SELECTING)
    watchlist = load_watchlist(file, "DOGEUSDT")
    assert [entry.symbol for entry in watchlist.symbols] == ["DOGEUSDT"]
    assert watchlist.selectors == ()


def listed(*pairs: str) -> list[Listed]:
    """Of pairs such as `ETH USDT 5` or `ETH USDT 5 HALT`."""
    parts = [pair.split() for pair in pairs]
    return [Listed(part[0], part[1], Decimal(part[2]), (part[3:] or ["TRADING"])[0]) for part in parts]


def test_a_selector_takes_the_largest_that_traded_within_the_day_and_leaves_what_the_file_names(file: Path) -> None:
    file.write_text(SELECTING)
    market = listed(
        "SOL USDT 30 HALT", "BTC USDT 90", "XRP USDT 20", "DEAD USDT 0 BREAK", "DOGE USDT 80", "ETH USDT 70",
        "ETH BTC 3", "BNB BTC 4", "SOL EUR 900",
    )  # fmt: skip
    symbols, selected, is_whole = resolved(load_watchlist(file), {"binance": market})
    assert is_whole
    assert [(entry.symbol, entry.priority, entry.streams) for entry in symbols] == [
        ("BTCUSDT", 1, ("trade",)),
        ("BNBBTC", 20, ("trade", "ticker", "kline_1m", "depth5")),
        ("ETHUSDT", 60, ("trade", "kline_1m")),
        ("SOLUSDT", 60, ("trade", "kline_1m")),
    ]
    assert [(str(one.selector), one.rank, one.symbol.symbol, one.quote_volume) for one in selected] == [
        ("quote=BTC top=1", 1, "BNBBTC", 4),
        ("quote=USDT top=3", 1, "BTCUSDT", 90),
        ("quote=USDT top=3", 2, "ETHUSDT", 70),
        ("quote=USDT top=3", 3, "SOLUSDT", 30),
    ]


def test_where_selectors_overlap_the_first_sets_the_terms() -> None:
    few = Selector(quote="USDT", top=1, priority=10)
    many = Selector(quote="USDT", top=2, priority=60, streams=("trade",), exchanges=("binance", "other"))
    symbols, selected, _ = resolved(
        Watchlist((), (few, many), frozenset()),
        {"binance": listed("BTC USDT 2", "ETH USDT 1"), "other": listed("BTC USDT 5")},
    )
    assert [(entry.symbol, entry.priority, len(entry.streams), entry.exchanges) for entry in symbols] == [
        ("BTCUSDT", 10, 4, ("binance", "other")),
        ("ETHUSDT", 60, 1, ("binance",)),
    ]
    assert [(one.exchange, one.rank, one.symbol.symbol) for one in selected] == [
        ("binance", 1, "BTCUSDT"),
        ("binance", 1, "BTCUSDT"),
        ("binance", 2, "ETHUSDT"),
        ("other", 1, "BTCUSDT"),
    ]


def test_an_exchange_that_could_not_be_asked_gives_nothing(file: Path) -> None:
    file.write_text(SELECTING)
    symbols, selected, is_whole = resolved(load_watchlist(file), {})
    assert not is_whole
    assert [entry.symbol for entry in symbols] == ["BTCUSDT"]
    assert selected == ()


def test_a_pair_that_no_topic_can_carry_is_passed_over() -> None:
    watchlist = Watchlist((), (Selector(quote="USDT", top=2),), frozenset())
    symbols, _, _ = resolved(watchlist, {"binance": listed("币安 USDT 3", "bad USDT 2", "ETH USDT 1")})
    assert {entry.symbol for entry in symbols} == {"币安USDT", "ETHUSDT"}


volumes = st.lists(
    st.tuples(st.sampled_from("ABCDEFGH"), st.integers(0, 5), st.sampled_from(["TRADING", "HALT"])),
    unique_by=lambda pair: pair[0],
)


@given(volumes, st.integers(1, 9), st.sets(st.sampled_from("ABCDEFGH")), st.sets(st.sampled_from("ABCDEFGH")))
def test_a_selector_never_takes_more_nor_what_is_disabled_nor_passes_over_a_larger_one(
    pairs: Sequence[tuple[str, int, str]], top: int, named: set[str], disabled: set[str]
) -> None:
    explicit = [Symbol(symbol=f"{base}USDT", name=base, priority=3) for base in sorted(named - disabled)]
    off = frozenset(f"{base}USDT" for base in disabled)
    market = [Listed(base, "USDT", Decimal(volume), status) for base, volume, status in pairs]
    symbols, selected, _ = resolved(
        Watchlist(tuple(explicit), (Selector(quote="USDT", top=top),), off), {"binance": market}
    )
    allowed = [
        pair for pair in market if (pair.status == "TRADING" or pair.quote_volume) and f"{pair.base}USDT" not in off
    ]
    chosen = {one.symbol.base for one in selected}
    assert [one.rank for one in selected] == list(range(1, min(top, len(allowed)) + 1))
    assert all(
        pair.quote_volume <= min(one.quote_volume for one in selected) for pair in allowed if pair.base not in chosen
    )
    assert {entry.base for entry in symbols} == chosen | (named - disabled)
    assert {entry for entry in symbols if entry.base in named} == set(explicit)
