"""The alerts in the API."""

import io
from collections.abc import Iterator

import httpx
import psycopg
import pyarrow as pa
import pyarrow.csv
import pytest

from tests.dashboard import made_alerts
from tests.dashboard.conftest import Served
from tests.dashboard.made_alerts import OLD, RECENT, Made

ACTIVE = [made.rule for made in reversed(RECENT) if not made.lasted]
JSON = {"Content-Type": "application/json"}


def acknowledge(served: Served, number: object, headers: dict[str, str]) -> httpx.Response:
    return httpx.post(f"{served.url}/api/v1/alerts/{number}/acknowledge", headers=headers, timeout=20)


def acknowledged_at(served: Served, number: int) -> object:
    [(at,)] = made_alerts.rows(
        served.postgres.settings, "select acknowledged_at from alerts.alerts where id = %s", number
    )
    return at


@pytest.fixture
def number(served: Served) -> Iterator[int]:
    """The id of an alert that is active and that nobody has seen."""
    made = Made("disk_fills", "disk", "critical", "disk", 0, "The disk is 91 % full.", over="It is not full.")
    yield made_alerts.fire(served.postgres.settings, made)
    made_alerts.resolve(served.postgres.settings, made)


def test_active_and_past_alerts_are_told_the_newest_first(served: Served) -> None:
    active = served.rows("alerts", state="active")
    assert [row["rule"] for row in active] == ACTIVE
    assert all(row["resolved_at"] is None for row in active)
    past = served.rows("alerts", state="past", limit=1000)
    assert len(past) >= OLD
    assert all(row["resolved_at"] for row in past)
    assert [row["fired_at"] for row in past] == sorted((row["fired_at"] for row in past), reverse=True)


def test_alerts_are_filtered_and_paged_by_when_they_fired(served: Served) -> None:
    wish = {"rule": "fast_move", "subject": "binance XRPUSDT", "severity": "warning"}
    rows = served.rows("alerts", **wish)
    assert len(rows) == OLD // 5
    assert {(row["rule"], row["subject"]) for row in rows} == {("fast_move", "binance XRPUSDT")}
    first = served.rows("alerts", limit=5, **wish)
    assert [*first, *served.rows("alerts", end=first[-1]["fired_at"], **wish)] == rows
    assert served.rows("alerts", severity="info", state="active") == []


def test_an_alert_says_who_was_told_and_who_still_waits_and_why(served: Served) -> None:
    [row] = served.rows("alerts", rule="stale_tables")
    team, phone = row["deliveries"]
    assert (team["destination"], phone["destination"]) == ("team", "phone")
    assert team["delivered_at"]
    assert (phone["delivered_at"], phone["attempts"]) == (None, 1)
    assert "502" in phone["answer"]


def test_alerts_are_the_same_as_json_csv_and_arrow(served: Served) -> None:
    rows = served.rows("alerts", state="past", limit=7)
    arrow = pa.ipc.open_stream(served.get("alerts", state="past", limit=7, format="arrow").content).read_all()
    table = pa.csv.read_csv(io.BytesIO(served.get("alerts", state="past", limit=7, format="csv").content))
    assert [row["id"] for row in rows] == arrow["id"].to_pylist() == table["id"].to_pylist()
    assert table["deliveries"].to_pylist() == arrow["deliveries"].to_pylist()


def test_an_alert_is_acknowledged_once(served: Served, number: int) -> None:
    answer = acknowledge(served, number, JSON)
    assert answer.status_code == 200
    [row] = [row for row in served.rows("alerts", state="active") if row["id"] == number]
    assert answer.json() == {"id": number, "acknowledged_at": row["acknowledged_at"]}
    assert acknowledge(served, number, JSON | {"Origin": served.url}).json() == answer.json()


@pytest.mark.parametrize(
    ("headers", "status", "said"),
    [
        (JSON | {"Origin": "https://elsewhere.example"}, 403, "refused to the pages of other sites"),
        (JSON | {"Origin": "null"}, 403, "refused to the pages of other sites"),
        ({"Content-Type": "text/plain"}, 415, "Content-Type: application/json"),
        ({}, 415, "Content-Type: application/json"),
    ],
)
def test_another_sites_page_cannot_acknowledge(
    served: Served, number: int, headers: dict[str, str], status: int, said: str
) -> None:
    answer = acknowledge(served, number, headers)
    assert answer.status_code == status
    assert said in answer.json()["error"]
    assert acknowledged_at(served, number) is None


@pytest.mark.parametrize(
    ("number", "status", "said"),
    [
        (10**9, 404, "There is no alert 1000000000"),
        ("one", 422, "number is 'one'"),
        (0, 422, "greater than or equal to 1"),
        (10**30, 422, "less than or equal to"),
    ],
)
def test_what_is_no_alert_is_not_acknowledged(served: Served, number: object, status: int, said: str) -> None:
    answer = acknowledge(served, number, JSON)
    assert answer.status_code == status
    assert said in answer.json()["error"]


def test_the_reader_may_acknowledge_and_change_nothing_else(served: Served, number: int) -> None:
    with psycopg.connect(served.postgres.settings.serving_reader_url, autocommit=True) as reader:
        reader.execute("set default_transaction_read_only = off")
        for statement in ("update alerts.alerts set acknowledged_at = null", "delete from alerts.outbox"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                reader.execute(statement)
        assert reader.execute("select alerts.acknowledge(%s)", [number]).fetchone() != (None,)


def test_before_the_alerts_service_has_made_its_tables_the_api_says_so(served: Served) -> None:
    settings = served.postgres.settings
    made_alerts.rows(settings, "alter table alerts.alerts rename to away")
    try:
        answer = served.get("alerts")
    finally:
        made_alerts.rows(settings, "alter table alerts.away rename to alerts")
    assert answer.status_code == 503
    assert "the alerts service makes their tables when it starts" in answer.json()["error"]
    assert served.get("candles", symbol="BTCUSDT").status_code == 200
