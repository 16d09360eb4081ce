"""`python -m tests.dashboard.serve`: the dashboard over a made market, to look at: a real PostgreSQL, a real Kafka.

Everything lies in a throw-away folder and on free ports, and is gone when it ends (Ctrl-C).
"""

import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import typer
import uvicorn

from alerts.store import Store
from dashboard.__main__ import SERVED
from dashboard.app import create_app
from dashboard.bars import INTERVALS, MINUTE, rolled_up
from deployment.paths import set_environment
from tests.dashboard import made_alerts, made_market
from tests.servers import KafkaServer, PostgresServer, free_ports


def lake(server: PostgresServer, stopping: threading.Event) -> None:
    """Write each minute's candles some seconds after it is over, as the pipeline does."""
    with made_market.writer(server.settings) as connection:
        while not stopping.wait(1):
            now = time.time()
            if int(now) % 60 != 20:
                continue
            end = int(now) // 60 * MINUTE
            for symbol in made_market.PAIRS:
                bars = [made_market.minute_bar(symbol, end - back * MINUTE) for back in range(1440, 0, -1)]
                for interval in INTERVALS:
                    longer = bars[-2:] if interval == "1m" else rolled_up(bars, interval, end)[-2:]
                    for bar in longer:
                        made_market.replace_candle(connection, made_market.candle_row(symbol, interval, bar))


def main(port: int = 0, minutes: int = 3 * 1440) -> None:
    """Serve until Ctrl-C; PORT 0 is a free one."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        set_environment({"CRYPTO_HOME": name})
        kafka, postgres = KafkaServer(folder / "kafka"), PostgresServer()
        kafka.start()
        postgres.start()
        stopping = threading.Event()
        try:
            made_market.create(postgres.settings)
            made_alerts.create(postgres.settings)
            with made_market.writer(postgres.settings) as connection:
                made_market.fill(connection, datetime.now(UTC), minutes)
            service = Store(postgres.settings)
            service.be_alone()  # as the alerts service does while it evaluates
            stream = made_market.Stream(kafka.settings)
            stream.past(time.time(), 30)
            threading.Thread(target=stream.run, daemon=True).start()
            threading.Thread(target=lake, args=(postgres, stopping), daemon=True).start()
            settings = postgres.settings.model_copy(update={"mode": "demo", "kafka_port": kafka.settings.kafka_port})
            chosen = port or free_ports(1)[0]
            print(f"The dashboard over a made market: http://127.0.0.1:{chosen}", flush=True)
            uvicorn.run(
                create_app(settings, made_market.made_hour),
                port=chosen,
                timeout_graceful_shutdown=2,
                log_level="warning",
                **SERVED,
            )
        finally:
            stopping.set()
            stream.close()
            postgres.remove()
            kafka.kill()


if __name__ == "__main__":
    typer.run(main)
