"""Alerts of the made market, kept by the store of the alerts service."""

from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from alerts import schema
from alerts.book import Change, Fired, Key, Resolved
from alerts.kinds import found
from alerts.kinds._kind import Finding
from alerts.store import Store, login
from shared.settings import Settings
from tests.dashboard.made_market import PAIRS

OLD = 60
"""So many are over for long, besides those of the last hours."""


class Made(NamedTuple):
    """An alert, `ago` minutes old; over after `lasted` minutes, or active."""

    rule: str
    kind: str
    severity: str
    subject: str
    ago: float
    text: str
    lasted: float = 0
    over: str = ""
    destinations: tuple[str, ...] = ()


RECENT = (
    Made(
        "failed_run", "failed_run", "warning", "analytics", 410,
        "The run 5f0c1a22 of analytics ended with FAILURE: its log in Dagster says why.",
        5, "The run 91d40e7b of analytics ended with SUCCESS: its log in Dagster says why.", ("team",),
    ),
    Made(
        "no_data", "no_data", "critical", "binance BTCUSDT", 161, "Nothing came of BTCUSDT from binance for 61 s.",
        1.4, "BTCUSDT comes.", ("team", "phone"),
    ),
    Made(
        "bitcoin_at_100000", "price_crosses", "info", "binance BTCUSDT", 95,
        "BTCUSDT trades at 100000.02 USDT (above: 100000).", 9, "BTCUSDT trades at 99999.31 USDT (above: 100000).",
    ),
    Made(
        "gap_not_repaired", "gap", "warning", "binance SOLUSDT", 31,
        "SOLUSDT of binance has 1 gap not repaired. trade: ids 48120 to 48175 did not come; REST was asked twice, "
        "tomorrow's archive is next.",
        destinations=("team",),
    ),
    Made(
        "fast_move", "move", "warning", "binance ETHUSDT", 12,
        "ETHUSDT moved by +3.12 % within 5 minutes, to 3402.18.",
    ),
    Made(
        "stale_tables", "freshness", "critical", "silver.indicators", 4,
        "silver.indicators was made 11.2 minutes ago; 10 minutes are allowed.", destinations=("team", "phone"),
    ),
)  # fmt: skip
SEEN = "fast_move"
"""The rule of the active one that was acknowledged."""
NEEDED = {
    "move": {"percent": 3, "minutes": 5},
    "freshness": {"tables": ["silver.indicators"]},
    "price_crosses": {"above": 100_000, "symbols": ["BTCUSDT"]},
}
"""Parameters without which there is no rule of a kind."""


def older(number: int) -> Made:
    symbol = list(PAIRS)[number % len(PAIRS)]
    text = f"{symbol} moved by {{}} % within 5 minutes."
    return Made(
        "fast_move", "move", "warning", f"binance {symbol}", 700 + 211 * number, text.format("-3.05"),
        7, text.format("-0.41"),
    )  # fmt: skip


def changes(made: Made, now: datetime) -> list[Change]:
    """What the service keeps of it."""
    needed = NEEDED.get(made.kind, {})
    rule = {"name": made.rule, "kind": made.kind, "severity": made.severity, "destinations": made.destinations}
    at = int((now - timedelta(minutes=made.ago)).timestamp() * 1_000_000)
    fires = Fired(
        found()[made.kind].model_validate(rule | needed), Finding(made.subject, True, at, made.lasted, made.text)
    )
    return [fires, Resolved(Key(made.rule, made.subject), at, made.over)] if made.lasted else [fires]


def fire(settings: Settings, made: Made) -> int:
    """Have it fire now; gives its id."""
    with closing(Store(settings)) as store:
        store.commit(changes(made, datetime.now(UTC)), {}, {})
        newest: int = store.alerts(past=True, limit=1)[0]["id"]
        return newest


def resolve(settings: Settings, made: Made) -> None:
    """Have it be over now."""
    with closing(Store(settings)) as store:
        store.commit([Resolved(Key(made.rule, made.subject), 0, made.over)], {}, {})


def rows(settings: Settings, statement: str, *values: object) -> list[tuple[Any, ...]]:
    """What the owner of the tables is answered."""
    with closing(login(settings)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchall() if cursor.description else []


def create(settings: Settings) -> None:
    """The tables, with what fired in the last days and what was sent of it; all but the last message to the phone."""
    schema.upgrade(settings)
    rows(settings, "truncate alerts.alerts, alerts.outbox restart identity")
    alerts = [*map(older, reversed(range(OLD))), *RECENT]
    now = datetime.now(UTC)
    with closing(Store(settings)) as store:
        store.commit([change for made in alerts for change in changes(made, now)], {}, {})
        for active in store.alerts(past=False, limit=10):
            if active["rule"] == SEEN:
                store.acknowledge(active["id"])
        while delivery := store.next_delivery("team"):
            store.delivered(delivery.number)
        while (delivery := store.next_delivery("phone")) and not delivery.attempts:
            if delivery.message.about == "fired" and "stale" in delivery.message.title:
                store.not_delivered(delivery.number, "The server answered 502: Bad Gateway.", 240)
            else:
                store.delivered(delivery.number)
    rows(
        settings,
        """
        update alerts.alerts set fired_at = happened_at + interval '0.4 seconds',
               resolved_at = case when resolved_at is not null then happened_at + value * interval '1 minute' end,
               acknowledged_at = case when acknowledged_at is not null then happened_at + interval '3 minutes' end;
        update alerts.outbox as o
        set delivered_at = case about when 'fired' then fired_at else resolved_at end + interval '0.9 seconds'
        from alerts.alerts as a where a.id = alert_id and delivered_at is not null
        """,
    )
