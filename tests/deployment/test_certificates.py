"""The certificate of what is open to a network."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from deployment import certificates
from shared.settings import Settings, SettingsError

NOW = datetime.now(UTC)
HOST = "lake.example.org"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    certificates.ensure(tmp_path / "public", HOST, NOW)
    return tmp_path / "public"


def certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def of_the_user(folder: Path, **others: object) -> Settings:
    """Settings with a certificate of the user's: here another of ours, in two files."""
    return Settings(tls_certificate=folder / "server.pem", tls_key=folder / "server.pem", public_host=HOST, **others)


@pytest.mark.parametrize(("days", "is_new"), [(0, False), (59, False), (61, True), (91, True), (4000, True)])
def test_a_certificate_is_made_anew_in_its_last_month_and_not_before(folder: Path, days: int, is_new: bool) -> None:
    before = certificate(folder / "server.pem").serial_number
    assert certificates.ensure(folder, HOST, NOW + timedelta(days=days)) is is_new
    assert (certificate(folder / "server.pem").serial_number != before) is is_new


def test_a_renewed_certificate_is_of_the_authority_that_is_trusted_already(folder: Path) -> None:
    before = (folder / "ca.pem").read_bytes()
    certificates.ensure(folder, HOST, NOW + timedelta(days=900))
    assert (folder / "ca.pem").read_bytes() == before
    certificate(folder / "server.pem").verify_directly_issued_by(certificate(folder / "ca.pem"))


def test_another_host_gets_another_authority_which_may_sign_for_it_alone(folder: Path) -> None:
    assert certificates.ensure(folder, "10.1.2.3", NOW)
    limits = certificate(folder / "ca.pem").extensions.get_extension_for_class(x509.NameConstraints)
    assert limits.critical
    assert [str(one.value) for one in limits.value.permitted_subtrees or ()] == ["10.1.2.3/32"]


def test_keys_are_files_of_ours_alone_and_the_authority_is_for_all(folder: Path) -> None:
    modes = {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}
    assert modes == {"ca.key": 0o600, "server.pem": 0o600, "ca.pem": 0o644}


def test_the_users_certificate_is_taken_and_a_new_one_of_it_too(folder: Path, tmp_path: Path) -> None:
    place, settings = tmp_path / "mine", of_the_user(folder)
    assert certificates.prepare(settings, place, NOW)
    assert not certificates.prepare(settings, place, NOW)
    assert not (place / "ca.pem").exists()
    (folder / "server.pem").unlink()
    certificates.ensure(folder, HOST, NOW)
    assert certificates.prepare(settings, place, NOW)
    assert certificate(place / "server.pem") == certificate(folder / "server.pem")
    assert (place / "server.pem").stat().st_mode & 0o777 == 0o600


def test_a_certificate_that_cannot_be_used_is_refused_in_a_sentence(folder: Path, tmp_path: Path) -> None:
    certificates.ensure(tmp_path / "another", HOST, NOW)
    (tmp_path / "no.pem").write_text("no certificate")
    settings = of_the_user(folder)
    wrong: list[tuple[dict[str, object], datetime, str]] = [
        ({"tls_key": tmp_path / "another" / "server.pem"}, NOW, "TLS_KEY .* is not the key of TLS_CERTIFICATE"),
        ({"tls_key": tmp_path / "not there"}, NOW, r"cannot be read \(No such file"),
        ({"tls_certificate": tmp_path / "no.pem"}, NOW, r"cannot be read \(no PEM"),
        ({"public_host": "other.example.org"}, NOW, "is not for other.example.org, which PUBLIC_HOST names"),
        ({}, NOW + timedelta(days=91), "ended on"),
    ]
    for change, now, sentence in wrong:
        with pytest.raises(SettingsError, match=sentence):
            certificates.check(settings.model_copy(update=change), now)
