"""The demo in containers, opened to a network by the profile `public`, and closed again."""

from pathlib import Path

import pytest

from tests.docker.containers import Containers, service
from tests.opened import HOST, check_logins, check_pages, opening
from tests.system import System


@pytest.mark.long
def test_it_is_open_to_who_has_a_login_and_closed_again(containers: Containers, tmp_path: Path) -> None:
    open_ = System(containers.system.environment | opening(), containers.system.home)
    open_.deploy("--docker")
    assert containers.unhealthy() == []
    place = "/data/var/demo/public/ca.pem"
    containers.compose("--profile", "public", "cp", f"public:{place}", str(tmp_path))
    check_pages(open_.settings(), tmp_path / "ca.pem")
    check_logins(open_.settings(), tmp_path / "ca.pem")
    published = {
        (service(one), bound["HostIp"])
        for one in containers.inspected()
        for ports in one["NetworkSettings"]["Ports"].values()
        for bound in ports or ()
    }
    assert {name for name, address in published if address == HOST} == {"public"}
    assert {address for _, address in published} == {"127.0.0.1", HOST}
    containers.system.deploy("--docker")
    assert "public" not in {service(one) for one in containers.inspected()}
