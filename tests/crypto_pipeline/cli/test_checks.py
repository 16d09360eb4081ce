from pathlib import Path

from crypto_pipeline.cli._checks import limits, portfolios
from shared.settings import PROJECT, Settings
from shared.symbol_manager import Symbol


def symbols(count: int, streams: tuple[str, ...]) -> list[Symbol]:
    return [
        Symbol.model_validate({"symbol": f"S{number}USDT", "name": "any", "streams": streams})
        for number in range(count)
    ]


def states(count: int, streams: tuple[str, ...], **settings: str) -> dict[str, str]:
    return {check.what: check.state for check in limits(symbols(count, streams), Settings(**settings))}


def test_what_the_exchange_allows_is_well() -> None:
    assert states(5, ("trade",)) == {"symbols": "ok", "binance": "ok"}


def test_a_thousand_symbols_need_more_connections_and_one_topic() -> None:
    found = list(limits(symbols(1000, ("trade", "ticker", "kline_1m", "depth5")), Settings()))
    assert [check.state for check in found] == ["warning", "ok"]
    assert "KAFKA_TOPIC" in found[0].message
    assert "4,000 streams on 4 connections" in found[1].message


def test_one_topic_for_all_takes_any_number() -> None:
    assert states(1000, ("trade",), kafka_topic="all")["symbols"] == "ok"


def test_a_portfolio_that_is_refused_is_a_warning_and_none_that_is_right(tmp_path: Path) -> None:
    right = Settings()
    assert [check.state for check in portfolios(right)] == ["ok"]
    file = tmp_path / "portfolio.yaml"
    file.write_text((PROJECT / "config" / "portfolio.yaml").read_text().replace("SOL: 0.15", "SOL: 0.25"))
    found = list(portfolios(right.model_copy(update={"portfolio_file": file})))
    assert [check.state for check in found] == ["warning", "warning"]
    assert "weights sum to 1.10, not 1" in found[0].message
    assert "transactions.csv cannot be read" in found[1].message
    [missing] = portfolios(right.model_copy(update={"portfolio_file": tmp_path / "none.yaml"}))
    assert (missing.state, "cannot be read" in missing.message) == ("warning", True)
