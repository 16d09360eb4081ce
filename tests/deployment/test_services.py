from dataclasses import replace
from pathlib import Path

import pytest

from deployment import services
from deployment.services import TABLE, Service, table, tiers
from shared.settings import Settings


def test_every_need_is_a_service() -> None:
    names = {service.name for service in TABLE}
    assert {need for service in TABLE for need in service.needs} <= names


def test_a_service_starts_after_all_that_it_needs() -> None:
    seen: set[str] = set()
    for tier in tiers(TABLE):
        for service in tier:
            assert set(service.needs) <= seen, service.name
        seen.update(service.name for service in tier)
    assert seen == {service.name for service in TABLE}


def test_services_that_need_each_other_are_refused() -> None:
    one, other = TABLE[0], TABLE[1]
    ring = [replace(one, needs=(other.name,)), replace(other, needs=(one.name,))]
    with pytest.raises(ValueError, match="need each other"):
        tiers(ring)


def test_every_port_is_a_setting_with_a_default_of_its_own(demo: Settings) -> None:
    ports = [getattr(demo, name) for service in TABLE for name in service.ports]
    assert len(ports) == len(set(ports))


def test_the_simulator_belongs_to_the_demo_alone(demo: Settings) -> None:
    assert "simulator" in table(demo)
    assert "simulator" not in table(demo.model_copy(update={"mode": "live"}))


def test_the_trades_of_clickhouse_are_followed_only_where_it_is_served(demo: Settings) -> None:
    assert "clickhouse-trades" not in table(demo)
    assert "clickhouse-trades" in table(demo.model_copy(update={"clickhouse": True}))
    assert "clickhouse-trades" in table(demo.model_copy(update={"clickhouse_url": "http://elsewhere:8123"}))


def test_what_is_had_elsewhere_is_not_started(demo: Settings) -> None:
    elsewhere = demo.model_copy(update={"kafka_bootstrap_servers": "hub:9093", "s3_endpoint": "https://store"})
    assert not {"kafka", "minio"} & set(table(elsewhere))
    assert "bucket" in table(elsewhere)  # it makes the bucket there


@pytest.mark.parametrize("service", TABLE, ids=lambda service: service.name)
def test_what_a_service_is_made_of_exists(service: Service) -> None:
    missing = [path for path in services.paths(service) if not Path(path).exists()]
    assert not missing


@pytest.mark.parametrize("service", TABLE, ids=lambda service: service.name)
def test_each_prefix_that_a_service_reads_names_a_setting(service: Service) -> None:
    for prefix in service.reads:
        assert any(name.startswith(prefix) for name in Settings.model_fields), prefix


def test_the_containers_that_always_run_fit_eight_gigabytes() -> None:
    assert sum(service.memory_mb for service in TABLE if not service.only_with) <= 8192
