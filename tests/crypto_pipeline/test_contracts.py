"""`contracts.json`: what the code says, for those who read without Spark."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from crypto_pipeline import contracts
from shared.settings import PROJECT, Settings


@pytest.fixture(autouse=True)
def _read_anew() -> Iterator[None]:
    contracts.contracts.cache_clear()
    yield
    contracts.contracts.cache_clear()


def test_the_file_is_what_the_code_says() -> None:
    is_current = contracts.FILE.read_bytes() == contracts.encoded(contracts.gathered())
    assert is_current, "contracts.json is not what the contracts say: run `crypto docs` and commit it"
    assert contracts.contracts() == contracts.gathered()


def test_the_indicators_are_those_of_this_deployments_own_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = contracts.tables()[contracts.INDICATORS].column_names
    file = tmp_path / "indicators.yaml"
    file.write_text((PROJECT / "config" / "indicators.yaml").read_text() + "# of my own\n")
    monkeypatch.setattr(contracts, "settings", lambda: Settings(indicators_file=file))
    contracts.contracts.cache_clear()
    assert contracts.tables()[contracts.INDICATORS].column_names == shipped
    stored = contracts.contracts()
    other = contracts.with_indicators(stored, (contracts.Column("mine_3", "double", "mine"),)).column_names
    assert other == [*shipped[: shipped.index("rests_from") + 1], "mine_3", "ingestion_ts", "month"]
