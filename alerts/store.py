"""The alerts in the serving database, schema `alerts`: what is active, what waits to be sent,
and how far Kafka was read.

What a batch of trades makes of the alerts, their messages, and the place in Kafka go in one transaction: whoever is
killed goes on from there, and what it had not told, it finds again.
"""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import psycopg2
from psycopg2.extras import RealDictCursor, execute_values

from alerts.book import Book, Change, Fired, Key, Resolved
from alerts.delivery import Message
from alerts.kinds._kind import Offsets
from alerts.watch import Memories, Memory
from shared.settings import Settings

ALONE = 0x616C657274  # "alert"
"""The advisory lock of the one service that evaluates."""
_LONGEST_COOL_DOWN = "7 days"
_APPLICATION = "crypto-alerts"


class NotAloneError(Exception):
    """Another process evaluates the rules of this database."""


class Delivery(NamedTuple):
    """A message that waits for its destination."""

    number: int
    message: Message
    attempts: int
    wait: float
    """Seconds until it is due; below 0: it is."""


def login(settings: Settings) -> Any:
    """A connection as the role whose the tables of alerts are, and nothing else is. Raises `psycopg2.Error`."""
    return psycopg2.connect(
        settings.alerts_url,
        connect_timeout=3,
        application_name=_APPLICATION,
        options="-c timezone=UTC -c statement_timeout=10000",
    )


class Store:
    """The tables, by one connection of one thread. Every method raises `psycopg2.Error` where it is lost."""

    def __init__(self, settings: Settings) -> None:
        self._connection = login(settings)

    def close(self) -> None:
        """Let go of the connection, and of being alone."""
        self._connection.close()

    @contextmanager
    def _transaction(self) -> Any:
        with self._connection, self._connection.cursor(cursor_factory=RealDictCursor) as cursor:
            yield cursor

    # --- evaluating

    def be_alone(self) -> None:
        """From now on no other process evaluates. Raises `NotAloneError` where one does."""
        with self._transaction() as cursor:
            cursor.execute("select pg_try_advisory_lock(%s) as alone", (ALONE,))
            if not cursor.fetchone()["alone"]:
                raise NotAloneError("another process evaluates the alerts of this database")

    def book(self) -> Book:
        """The active alerts, and when each rule fired last."""
        with self._transaction() as cursor:
            cursor.execute("select rule, subject, occurrence from alerts.alerts where resolved_at is null")
            active = [Key(**row) for row in cursor.fetchall()]
            cursor.execute(
                "select rule, subject, (extract(epoch from max(happened_at)) * 1000000)::bigint as at "
                "from alerts.alerts where happened_at > now() - %s::interval group by rule, subject",
                (_LONGEST_COOL_DOWN,),
            )
            return Book(active, [(row["rule"], row["subject"], row["at"]) for row in cursor.fetchall()])

    def offsets(self) -> Offsets:
        """How far Kafka was read; empty at the first start."""
        found: dict[str, dict[int, int]] = {}
        with self._transaction() as cursor:
            cursor.execute("select topic, partition, next_offset from alerts.offsets")
            for row in cursor.fetchall():
                found.setdefault(row["topic"], {})[row["partition"]] = row["next_offset"]
        return found

    def memories(self, rules: Iterable[str]) -> Memories:
        """What these rules remember; what others did is forgotten."""
        with self._transaction() as cursor:
            cursor.execute("delete from alerts.memories where not rule = any(%s)", (list(rules),))
            cursor.execute("select rule, market, definition, content from alerts.memories")
            return {
                (row["rule"], row["market"]): Memory(row["definition"], row["content"].encode())
                for row in cursor.fetchall()
            }

    def commit(self, changes: Sequence[Change], offsets: Offsets, memories: Memories) -> None:
        """Keep what changed, with its messages, and where in Kafka that was: all of it, or nothing."""
        with self._transaction() as cursor:
            for change in changes:
                if isinstance(change, Fired):
                    _fire(cursor, change)
                else:
                    _resolve(cursor, change)
            _upsert(
                cursor, "offsets", ("topic", "partition"), ("next_offset",),
                [(topic, number, at) for topic, places in offsets.items() for number, at in places.items()],
            )  # fmt: skip
            _upsert(
                cursor, "memories", ("rule", "market"), ("definition", "content"),
                [(*key, memory.definition, memory.content.decode()) for key, memory in memories.items()],
            )  # fmt: skip

    def commit_digest(self, day: str, body: str, destinations: Sequence[str]) -> bool:
        """Keep the digest of a day for its destinations; false where it was kept before."""
        with self._transaction() as cursor:
            cursor.execute("insert into alerts.digests (day) values (%s) on conflict do nothing", (day,))
            if not cursor.rowcount:
                return False
            _enqueue(cursor, None, destinations, "digest", "info", f"Crypto lakehouse: digest of {day}", body)
            return True

    def trim(self, days: int) -> None:
        """Remove what has been over for so many days: alerts with their messages, sent or not, and digests."""
        with self._transaction() as cursor:
            for over in (
                "alerts.alerts where resolved_at",
                "alerts.outbox where alert_id is null and created_at",
                "alerts.digests where day",
            ):
                cursor.execute(f"delete from {over} < now() - make_interval(days => %s)", (days,))  # noqa: S608

    # --- for people

    def alerts(self, *, past: bool, limit: int) -> list[dict[str, Any]]:
        """The active alerts, or with `past` all, the latest first."""
        with self._transaction() as cursor:
            cursor.execute(
                "select id, rule, kind, severity, subject, value, text, fired_at, resolved_at, acknowledged_at "
                "from alerts.alerts where %s or resolved_at is null order by id desc limit %s",
                (past, limit),
            )
            return [dict(row) for row in cursor.fetchall()]

    def acknowledge(self, number: int) -> bool:
        """Note that a person has seen an alert; false where there is none of this number."""
        with self._transaction() as cursor:
            cursor.execute("select alerts.acknowledge(%s) is not null as is_there", (number,))
            return bool(cursor.fetchone()["is_there"])

    # --- sending

    def next_delivery(self, destination: str) -> Delivery | None:
        """The oldest message that this destination has not taken."""
        with self._transaction() as cursor:
            cursor.execute(
                "select id, about, severity, title, body, key, attempts, "
                "extract(epoch from next_attempt_at - now())::float8 as wait "
                "from alerts.outbox where destination = %s and delivered_at is null order by id limit 1",
                (destination,),
            )
            row = cursor.fetchone()
        if row is None:
            return None
        message = Message(row["about"], row["severity"], row["title"], row["body"], str(row["key"]))
        return Delivery(row["id"], message, row["attempts"], row["wait"])

    def delivered(self, number: int) -> None:
        """Note that the destination took it."""
        with self._transaction() as cursor:
            cursor.execute(
                "update alerts.outbox set delivered_at = now(), attempts = attempts + 1, answer = null where id = %s",
                (number,),
            )

    def not_delivered(self, number: int, answer: str, seconds: float) -> None:
        """Note why the destination did not take it, and that it is due again in so many seconds."""
        with self._transaction() as cursor:
            cursor.execute(
                "update alerts.outbox set attempts = attempts + 1, answer = %s, "
                "next_attempt_at = now() + %s * interval '1 second' where id = %s",
                (answer, seconds, number),
            )

    def waiting(self) -> Mapping[str, int]:
        """How many messages each destination has not taken yet."""
        with self._transaction() as cursor:
            cursor.execute(
                "select destination, count(*) as n from alerts.outbox where delivered_at is null group by destination"
            )
            return {row["destination"]: row["n"] for row in cursor.fetchall()}


def _fire(cursor: Any, fired: Fired) -> None:
    rule, finding = fired
    cursor.execute(
        "insert into alerts.alerts (rule, kind, severity, subject, occurrence, value, text, happened_at) "
        "values (%s, %s, %s, %s, %s, %s, %s, to_timestamp(%s / 1000000.0)) returning id",
        (rule.name, rule.kind, rule.severity, finding.subject, finding.occurrence, finding.value, finding.text,
         finding.at),
    )  # fmt: skip
    number = cursor.fetchone()["id"]
    title = f"{rule.severity.upper()}: {rule.name}, {finding.subject}"
    _enqueue(cursor, number, rule.destinations, "fired", rule.severity, title, finding.text)


def _resolve(cursor: Any, resolved: Resolved) -> None:
    """End an alert, and tell those that were told of it."""
    rule, subject, occurrence = resolved.key
    cursor.execute(
        "update alerts.alerts set resolved_at = now(), resolved_text = %s "
        "where rule = %s and subject = %s and occurrence = %s and resolved_at is null returning id, severity",
        (resolved.text, rule, subject, occurrence),
    )
    alert = cursor.fetchone()
    cursor.execute(
        "select destination from alerts.outbox where alert_id = %s and about = 'fired' order by id", (alert["id"],)
    )
    destinations = [row["destination"] for row in cursor.fetchall()]
    title = f"Resolved: {rule}, {subject}"
    _enqueue(cursor, alert["id"], destinations, "resolved", alert["severity"], title, resolved.text)


def _enqueue(
    cursor: Any, alert: int | None, destinations: Sequence[str], about: str, severity: str, title: str, body: str
) -> None:
    for name in destinations:
        cursor.execute(
            "insert into alerts.outbox (alert_id, destination, about, severity, title, body, key) "
            "values (%s, %s, %s, %s, %s, %s, %s)",
            (alert, name, about, severity, title, body, str(uuid.uuid4())),
        )


def _upsert(
    cursor: Any, table: str, key: Sequence[str], columns: Sequence[str], rows: Sequence[tuple[object, ...]]
) -> None:
    if not rows:
        return
    changes = ", ".join(f"{name} = excluded.{name}" for name in columns)
    statement = (
        f"insert into alerts.{table} ({', '.join((*key, *columns))}) values %s "  # noqa: S608 (names of ours)
        f"on conflict ({', '.join(key)}) do update set {changes}"
    )
    execute_values(cursor, statement, rows, page_size=1000)
