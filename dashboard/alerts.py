"""The alerts as the alerts service keeps them: how many there are, which, and that somebody has seen one."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, cast

from alerts.store import ALONE
from dashboard.database import Database
from shared.settings import Settings
from shared.tables import Column

ALERT = (
    Column("id", "bigint", ""),
    *(Column(name, "string", "") for name in ("rule", "kind", "severity", "subject")),
    Column("value", "double", ""),
    Column("text", "string", ""),
    Column("happened_at", "timestamp", ""),
    Column("fired_at", "timestamp", ""),
    Column("resolved_at", "timestamp", ""),
    Column("resolved_text", "string", ""),
    Column("acknowledged_at", "timestamp", ""),
    Column("deliveries", "array<struct<destination:string>>", ""),
)
"""The columns of an alert."""

_CONNECTIONS = 2
_ABSENT = "There are no alerts yet: the alerts service makes their tables when it starts. ./monitor.sh shows it."
_STANDING = f"""
SELECT count(*) AS active, count(*) FILTER (WHERE acknowledged_at IS NULL) AS unseen,
       count(*) FILTER (WHERE acknowledged_at IS NULL AND severity = 'critical') AS critical,
       (SELECT count(*) FROM alerts.alerts WHERE fired_at >= now() - interval '1 day') AS fired_today,
       (SELECT count(*) FROM alerts.outbox WHERE delivered_at IS NULL) AS waiting,
       (SELECT max(id) FROM alerts.alerts) AS newest,
       (SELECT max(resolved_at) FROM alerts.alerts) AS resolved_at,
       EXISTS (
           SELECT FROM pg_locks JOIN pg_database AS d ON d.oid = database
           WHERE locktype = 'advisory' AND granted AND d.datname = current_database()
             AND (classid::bigint << 32) + objid::bigint = {ALONE}
       ) AS is_evaluated
FROM alerts.alerts WHERE resolved_at IS NULL
"""  # noqa: S608 (our own number)
_LISTED = """
SELECT id, rule, kind, severity, subject, value, text, happened_at, fired_at, resolved_at, resolved_text,
       acknowledged_at,
       (SELECT coalesce(jsonb_agg(jsonb_build_object(
                   'destination', destination, 'about', about, 'attempts', attempts, 'delivered_at', delivered_at,
                   'next_attempt_at', CASE WHEN delivered_at IS NULL THEN next_attempt_at END, 'answer', answer
               ) ORDER BY id), '[]')
        FROM alerts.outbox WHERE alert_id = found.id) AS deliveries
FROM (
    SELECT * FROM alerts.alerts
    WHERE (%(is_active)s::boolean IS NULL OR (resolved_at IS NULL) = %(is_active)s)
      AND (%(severity)s::text IS NULL OR severity = %(severity)s) AND (%(rule)s::text IS NULL OR rule = %(rule)s)
      AND (%(subject)s::text IS NULL OR subject = %(subject)s)
      AND fired_at >= %(start)s AND fired_at < %(end)s
    ORDER BY fired_at DESC, id DESC LIMIT %(limit)s
) AS found
ORDER BY fired_at DESC, id DESC
"""
_NAMES = """
SELECT (SELECT coalesce(array_agg(DISTINCT rule), '{}') FROM alerts.alerts) AS rules,
       (SELECT coalesce(array_agg(DISTINCT subject), '{}') FROM alerts.alerts) AS subjects
"""


class Alerts:
    """The alerts, by connections of their own: what they lack stops nothing else. Raises `DatabaseAwayError`."""

    def __init__(self, settings: Settings) -> None:
        self._database = Database(settings, _ABSENT, _CONNECTIONS)
        self.standing: Mapping[str, Any] = {}
        """At the last look: how many are active, not acknowledged (`unseen`, `critical`) and fired in the last day, how
        many messages wait for their destination, and whether a service evaluates the rules. Empty: there was none."""

    async def open(self) -> None:
        """Begin to connect; it does not wait."""
        await self._database.open()

    async def close(self) -> None:
        """Close every connection."""
        await self._database.close()

    async def look(self) -> None:
        """Ask how they stand."""
        [self.standing] = await self._database.dicts(_STANDING)

    async def listed(self, wanted: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """As `ALERT`, the newest first: those with the `severity`, `rule` and `subject`, where these are not null."""
        return await self._database.tuples(_LISTED, wanted)

    async def names(self) -> dict[str, Any]:
        """The `rules` and `subjects` of all that are kept."""
        [found] = await self._database.dicts(_NAMES)
        return found

    async def acknowledge(self, number: int) -> datetime | None:
        """Somebody has seen an alert: since when; none where there is none of this number."""
        [[since]] = await self._database.changed("SELECT alerts.acknowledge(%s)", [number])
        await self.look()
        return cast(datetime | None, since)
