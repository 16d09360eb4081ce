"""What is streamed, as the file and the exchange's turnover change."""

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import pytest

from shared.symbol_manager import Listed, SymbolsFileError
from streaming.symbols_file import DAY, Choice, SymbolsFile

ONE = "tiers:\n  a:\n    - {symbol: BTCUSDT, name: Bitcoin}\n"
TWO = f"{ONE}    - {{symbol: ETHUSDT, name: Ether}}\n"
CHOSEN = f"{ONE}    - {{quote: USDT, top: 2}}\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "symbols.yaml"
    file.write_text(ONE)
    return file


def names(file: SymbolsFile) -> list[str] | None:
    watchlist = file.changed()
    return None if watchlist is None else [symbol.symbol for symbol in watchlist.symbols]


def test_the_file_is_read_once_for_each_content(path: Path) -> None:
    file = SymbolsFile(path, "")
    assert names(file) == ["BTCUSDT"]
    assert names(file) is None
    path.touch()
    assert names(file) is None
    path.write_text(TWO)
    assert names(file) == ["BTCUSDT", "ETHUSDT"]
    assert names(file) is None


def test_a_wrong_file_is_reported_once_and_a_mended_one_is_read(path: Path) -> None:
    file = SymbolsFile(path, "")
    assert names(file) == ["BTCUSDT"]
    path.write_text(TWO.replace("ETHUSDT", "BTCUSDT"))
    with pytest.raises(SymbolsFileError, match=r"symbols.yaml:4: BTCUSDT stands twice\."):
        file.changed()
    assert names(file) is None
    path.write_text(TWO)
    assert names(file) == ["BTCUSDT", "ETHUSDT"]


def test_a_file_that_is_gone_is_reported_once(path: Path) -> None:
    file = SymbolsFile(path, "")
    names(file)
    path.unlink()
    with pytest.raises(SymbolsFileError, match="cannot be read"):
        file.changed()
    assert names(file) is None


def test_an_exchange_that_there_is_not_is_a_fault_of_the_file(path: Path) -> None:
    path.write_text(ONE.replace("name: Bitcoin", "name: Bitcoin, exchanges: [mtgox]"))
    with pytest.raises(SymbolsFileError, match="no exchange 'mtgox'"):
        SymbolsFile(path, "").changed()


def listed(*pairs: tuple[str, int]) -> dict[str, Sequence[Listed]]:
    return {"binance": [Listed(base, "USDT", Decimal(volume), "TRADING") for base, volume in pairs]}


def choice(path: Path, text: str) -> Choice:
    path.write_text(text)
    watchlist = SymbolsFile(path, "").changed()
    assert watchlist is not None
    return Choice(watchlist)


def test_without_selectors_the_choice_is_made_once(path: Path) -> None:
    made = choice(path, TWO)
    first = made.renewed({}, 0)
    assert first is not None
    assert [symbol.symbol for symbol in first.symbols] == ["BTCUSDT", "ETHUSDT"]
    assert made.renewed(listed(("SOL", 9)), DAY) is None


def test_a_selector_chooses_as_soon_as_the_exchange_says_what_it_lists_and_anew_each_day(path: Path) -> None:
    made = choice(path, CHOSEN)
    assert [symbol.symbol for symbol in made.renewed({"binance": ()}, 0).symbols] == ["BTCUSDT"]  # type: ignore[union-attr]
    now = listed(("SOL", 9), ("XRP", 5), ("ADA", 7))
    chosen = made.renewed(now, 1)
    assert chosen is not None
    assert [(one.symbol.symbol, one.rank) for one in chosen.selected] == [("SOLUSDT", 1), ("ADAUSDT", 2)]
    assert made.renewed(listed(("XRP", 99)), DAY - 1) is None
    tomorrow = made.renewed(listed(("XRP", 99), ("SOL", 9)), DAY)
    assert tomorrow is not None
    assert [one.symbol.symbol for one in tomorrow.selected] == ["XRPUSDT", "SOLUSDT"]
