"""Dagster's storage keeps its connections."""

from contextlib import closing

import psycopg2
import pytest
from dagster import AssetObservation, DagsterInstance
from dagster._core.instance.ref import InstanceRef

from deployment import dagster
from tests.system import System

EVENTS = 20


def sessions(system: System) -> int:
    """How many connections Dagster's database has ever had."""
    with closing(psycopg2.connect(system.settings().dagster_url)) as connection:
        cursor = connection.cursor()
        cursor.execute("select sessions from pg_stat_database where datname = current_database()")
        return int(cursor.fetchone()[0])


def test_an_event_needs_no_connection_of_its_own(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    command = dagster.daemon(system.settings())
    for name, value in command.env.items():
        monkeypatch.setenv(name, value)
    with DagsterInstance.from_ref(InstanceRef.from_dir(command.env["DAGSTER_HOME"])) as instance:
        instance.report_runless_asset_event(AssetObservation("probe"))
        before = sessions(system)
        for _ in range(EVENTS):
            instance.report_runless_asset_event(AssetObservation("probe"))
        assert sessions(system) - before < EVENTS
