from pathlib import Path

from crypto_pipeline.cli._checks import disk, limits, portfolios, signals
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


def test_a_disk_on_which_imports_wait_is_a_warning_and_one_elsewhere_is_not_looked_at() -> None:
    [full] = disk(Settings().model_copy(update={"imports_pause_percent": 0}))
    assert (full.state, full.message[:12]) == ("warning", "Imports wait")
    assert list(disk(Settings(s3_endpoint="https://s3.example.org"))) == []


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


def test_each_rule_that_is_refused_is_said(tmp_path: Path) -> None:
    file = tmp_path / "signals.yaml"
    rule = "  - {name: NAME, side: buy, when: {above: [close, COLUMN]}}\n"
    head = "costs: {fee_bps: 10, spread_bps: 2}\nrules:\n" + rule.replace("NAME", "ok").replace("COLUMN", "sma_20")
    file.write_text(head + rule.replace("NAME", "wrong").replace("COLUMN", "sma_21"))
    [found] = signals(Settings(signals_file=file))
    assert found.state == "warning"
    assert found.message.startswith(f"{file}:4: ")
    file.write_text(head)
    assert [check.state for check in signals(Settings(signals_file=file))] == ["ok"]
    file.write_text("rules")
    assert [check.state for check in signals(Settings(signals_file=file))] == ["fault"]
