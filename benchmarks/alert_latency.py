"""How long after a candle's close an alert that rests on it is at its receiver.

    python benchmarks/alert_latency.py [--minutes 20] [--port 8799]

It watches a running deployment of which the alerts' service and this process run on the same machine. It receives what
the service sends, and reads in the serving database (schema `alerts`) on which moment each alert rests: of a signal and
an anomaly that is the close of their candle. Let the rules of `ALERTS_FILE` send there:

    destinations: {benchmark: {url: "json://127.0.0.1:8799/"}}
    rules:
      - {name: signals, kind: signal, intervals: [1m], cool_down_minutes: 0, destinations: [benchmark]}
      - {name: anomalies, kind: anomaly, cool_down_minutes: 0, destinations: [benchmark]}

and have rules in `SIGNALS_FILE` that are often so on candles of a minute, such as `{above: [close, sma_20]}`. What was
made before this began is left out.
"""

import argparse
import json
import statistics
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from alerts.store import login
from shared.settings import settings

_RESTS_ON = """
    select rule, subject, extract(epoch from happened_at), extract(epoch from fired_at)
    from alerts.outbox join alerts.alerts on alerts.id = alert_id where about = 'fired' and key::text = %s
"""


def main() -> None:
    """Receives, asks and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--port", type=int, default=8799)
    asked = parser.parse_args()
    came: dict[str, float] = {}

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if message.get("about") == "fired":
                came.setdefault(message["key"], time.time())
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", asked.port), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    began = time.time()
    time.sleep(asked.minutes * 60)
    server.shutdown()
    late: dict[str, list[float]] = {}
    connection = login(settings())
    with connection, connection.cursor() as cursor:
        for key, at in sorted(came.items(), key=lambda one: one[1]):
            cursor.execute(_RESTS_ON, (key,))
            for rule, subject, closed, fired in cursor.fetchall():
                if closed >= began:
                    late.setdefault(rule, []).append(at - float(closed))
                    told = at - float(fired)
                    print(
                        f"{rule}, {subject}: {at - float(closed):.1f} s after the close, {told:.1f} s of them to tell"
                    )
    connection.close()
    for rule, seconds in sorted(late.items()):
        p95 = statistics.quantiles(seconds, n=20, method="inclusive")[-1] if len(seconds) > 1 else seconds[0]
        print(f"{rule}: {len(seconds)} alerts, p50 {statistics.median(seconds):.1f} s, p95 {p95:.1f} s, "
              f"longest {max(seconds):.1f} s")  # fmt: skip


if __name__ == "__main__":
    main()
