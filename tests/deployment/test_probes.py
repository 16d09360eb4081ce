import time

import pytest

from deployment import health
from deployment.probes import UnhealthyError
from deployment.services import TABLE, Service, table
from shared.settings import Settings


@pytest.fixture
def nowhere(demo: Settings) -> Settings:
    """Settings whose ports are those of nobody."""
    return demo.model_copy(update={name: 1 + at for at, name in enumerate(all_ports())})


def all_ports() -> list[str]:
    return [name for name in Settings.model_fields if name.endswith("_port")]


@pytest.mark.parametrize("service", TABLE, ids=lambda service: service.name)
def test_a_service_that_is_not_there_is_unhealthy_with_a_reason(service: Service, nowhere: Settings) -> None:
    with pytest.raises(UnhealthyError) as caught:
        service.probe(nowhere)
    assert str(caught.value)
    assert "the-password" not in str(caught.value)


def test_the_health_of_all_services_is_told_in_two_seconds(nowhere: Settings) -> None:
    began = time.monotonic()
    told = health.services(nowhere)
    assert time.monotonic() - began < 4  # two, and patience for a busy machine
    assert [one.name for one in told] == list(table(nowhere))
    assert not any(one.healthy for one in told)
    assert all(one.reason and one.pid is None for one in told)
