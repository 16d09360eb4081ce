"""The certificate of the ports that are open to a network: made by an authority of our own, or the user's."""

import ipaddress
import os
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from deployment.paths import PROJECT
from shared.settings import Settings, SettingsError

AUTHORITY = timedelta(days=3650)
LIFE = timedelta(days=90)
RENEWED_BEFORE = timedelta(days=30)
"""A certificate is made anew so long before its end."""
_BACK = timedelta(hours=1)
"""So far the clock of whoever connects may be behind ours."""


def prepare(settings: Settings, folder: Path, now: datetime) -> bool:
    """Have `server.pem` in the folder, certificate, chain and key in one; true where it is another than before.

    Beside one that we made lies `ca.pem`, which those who connect are to trust. Raises `SettingsError` for one of the
    user's that cannot be used.
    """
    given = check(settings, now)
    if given is None:
        return ensure(folder, settings.public_host, now)
    (folder / "ca.pem").unlink(missing_ok=True)
    return _write(folder / "server.pem", given)


def ensure(folder: Path, host: str, now: datetime) -> bool:
    """The same by our own authority: made where it is missing, of another host, or near its end."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    key, authority = _authority(folder, host, now)
    path = folder / "server.pem"
    if path.exists():
        there = x509.load_pem_x509_certificate(path.read_bytes())
        is_ours = there.issuer == authority.subject and _is_signed(there, authority)
        if is_ours and there.not_valid_after_utc - now > RENEWED_BEFORE:
            return False
    mine = ec.generate_private_key(ec.SECP256R1())
    made = (
        _certificate(host, authority.subject, mine.public_key(), now, LIFE)
        .add_extension(x509.SubjectAlternativeName([_general(host)]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return _write(path, _pem(made) + _private(mine))


def check(settings: Settings, now: datetime) -> bytes | None:
    """The user's certificate and key, where the settings name them. Raises `SettingsError`, which says the cure."""
    if not settings.tls_certificate or not settings.tls_key:
        return None
    certificate, key = PROJECT / settings.tls_certificate, PROJECT / settings.tls_key
    try:
        chain, secret = certificate.read_bytes(), key.read_bytes()
        first = x509.load_pem_x509_certificate(chain)
        private = serialization.load_pem_private_key(secret, password=None)
    except (OSError, ValueError, TypeError) as error:
        why = error.strerror if isinstance(error, OSError) else "no PEM, or a key with a password"
        raise SettingsError(f"TLS_CERTIFICATE {certificate} and TLS_KEY {key} cannot be read ({why}).") from None
    if _public(first.public_key()) != _public(private.public_key()):
        raise SettingsError(f"TLS_KEY {key} is not the key of TLS_CERTIFICATE {certificate}.")
    if first.not_valid_after_utc <= now:
        ended = f"{first.not_valid_after_utc:%Y-%m-%d}"
        raise SettingsError(f"TLS_CERTIFICATE {certificate} ended on {ended}: renew it, it is taken in by itself.")
    if not _is_for(first, settings.public_host):
        raise SettingsError(
            f"TLS_CERTIFICATE {certificate} is not for {settings.public_host}, which PUBLIC_HOST names."
        )
    return chain.rstrip() + b"\n" + secret


def _authority(folder: Path, host: str, now: datetime) -> tuple[CertificateIssuerPrivateKeyTypes, x509.Certificate]:
    """Key and certificate of who signs, and may do so for this host alone."""
    secret, path = folder / "ca.key", folder / "ca.pem"
    only = x509.NameConstraints(permitted_subtrees=[_subtree(host)], excluded_subtrees=None)
    if secret.exists() and path.exists():
        there = x509.load_pem_x509_certificate(path.read_bytes())
        limits = there.extensions.get_extension_for_class(x509.NameConstraints).value
        if limits == only and there.not_valid_after_utc - now > LIFE + RENEWED_BEFORE:
            key = serialization.load_pem_private_key(secret.read_bytes(), password=None)
            assert isinstance(key, ec.EllipticCurvePrivateKey)  # noqa: S101 (written below)
            return key, there
    made = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"crypto-lakehouse {now:%Y-%m-%d}")])
    certificate = (
        _certificate("", name, made.public_key(), now, AUTHORITY)
        .subject_name(name)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(only, critical=True)
        .add_extension(_SIGNS, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(made.public_key()), critical=False)
        .sign(made, hashes.SHA256())
    )
    _write(secret, _private(made))
    _write(path, _pem(certificate))
    path.chmod(0o644)  # it is for all who connect
    return made, certificate


_SIGNS = x509.KeyUsage(
    key_cert_sign=True,
    crl_sign=True,
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    encipher_only=False,
    decipher_only=False,
)


def _certificate(
    host: str, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, life: timedelta
) -> x509.CertificateBuilder:
    made = (
        x509.CertificateBuilder()
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACK)
        .not_valid_after(now + life)
    )
    # A name may have 64 characters at most there; clients look at the alternative names alone.
    return made.subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host[:64])])) if host else made


def _general(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _subtree(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_network(host))
    except ValueError:
        return x509.DNSName(host)


def _is_for(certificate: x509.Certificate, host: str) -> bool:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False
    lower = host.lower()
    wanted = {lower, "*." + lower.partition(".")[2]}
    known = {name.lower() for name in names.get_values_for_type(x509.DNSName)}
    return bool(wanted & known) or lower in map(str, names.get_values_for_type(x509.IPAddress))


def _is_signed(certificate: x509.Certificate, by: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(by)
    except Exception:  # noqa: BLE001 (another key, another kind of key: it is not of this authority)
        return False
    return True


def _public(key: object) -> bytes:
    encoded: bytes = key.public_bytes(  # type: ignore[attr-defined]
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return encoded


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write(path: Path, content: bytes) -> bool:
    """Write a file of ours alone, whole or not at all; false where it says that already."""
    if path.exists() and path.read_bytes() == content:
        return False
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = path.with_name(f".{path.name}-made")
    made.unlink(missing_ok=True)
    with os.fdopen(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
    made.replace(path)
    return True
