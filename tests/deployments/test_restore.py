"""What `crypto restore` made elsewhere is deployed, and goes on where the backup was taken."""

from pathlib import Path

from crypto_pipeline.backup.restoring import stores
from tests.system import PATIENCE, STREAMED_ALONE, SYMBOLS, deployed, undeployed, wait_for

TRADES = """
    select symbol, count(*) as rows, max(trade_id) - min(trade_id) + 1 as ids, max(trade_id) as last
    from bronze.trades group by 1 order by 1"""
GIVEN = STREAMED_ALONE | {"CANDLES_FIRST_SECONDS": "240"}
"""What gathers evidence waits for the candles of a fresh start, as it does for users."""
CANDLES = "select symbol, max(last_trade_id) as last from silver.ohlcv_1m group by 1 order by 1"


def test_a_restored_deployment_goes_on(tmp_path: Path) -> None:
    with deployed(**GIVEN) as one:
        wait_for("candles of each symbol", lambda: len(one.query(CANDLES)) == len(SYMBOLS))
        done = one.crypto("backup", "--to", str(tmp_path))
        assert done.returncode == 0, done.stderr
    with undeployed(**GIVEN) as other:
        assert other.crypto("restore", "--from", str(tmp_path)).returncode == 0
        with other.its_environment(), stores(other.settings()):
            before = {row["symbol"]: row["last"] for row in other.query(TRADES)}
        other.script("deploy.sh", "--demo", "--local", seconds=1500)

        def goes_on() -> bool:
            now = {row["symbol"]: row["last"] for row in other.query(CANDLES)}
            return all(now.get(symbol, 0) > before[symbol] for symbol in SYMBOLS)

        wait_for("candles of trades that came after it", goes_on, 2 * PATIENCE)
        lost = other.query("select distinct exchange, status from bronze.gaps where cause = 'offsets_expired'")
        assert lost == [{"exchange": "kafka", "status": "lost"}]
        wait_for("what was missed meanwhile", lambda: all(row["rows"] == row["ids"] for row in other.query(TRADES)))
