"""Certificates: what those of an orchestrator say, and when one is due for renewal.

Everything here is a function of its arguments; `now` is in seconds since 1970.
"""

import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import msgspec

from orchestrator.admission.tls.authority import BACKDATED, CertificateSigner, CertificateUse
from shared.errors import InvalidInput
from shared.runtime.tls.trust import ORCHESTRATOR_NAME, ORGANIZATION, certificates_in

if TYPE_CHECKING:
    from cryptography import x509

LIFE = timedelta(days=365)
RENEWED_EARLY = timedelta(days=61)
_LONGEST_NAME = 253


class CertificateInvalid(InvalidInput):
    """A certificate that cannot be served: it is none, has expired, or its key is another one."""


class Pair(msgspec.Struct, frozen=True):
    """A certificate with those that vouch for it, and its key, both as PEM."""

    certificate: bytes
    key: bytes

    def __repr__(self) -> str:
        return f"<Pair of {len(self.certificate)} bytes>"

    @property
    def der(self) -> bytes:
        """Of the first certificate, which is the server's own; there may be any words around it."""
        return next(iter(certificates_in(self.certificate.decode("ascii", errors="replace"))))


def issue(
    signer: CertificateSigner,
    hosts: Sequence[str],
    *,
    now: float,
    use: CertificateUse = CertificateUse.SERVERS,
) -> Pair:
    """An orchestrator's certificate for the fixed name and these names and addresses, with a new key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    key, made = ec.generate_private_key(ec.SECP256R1()), datetime.fromtimestamp(int(now), tz=UTC)
    name = [(NameOID.ORGANIZATION_NAME, ORGANIZATION), (NameOID.COMMON_NAME, ORCHESTRATOR_NAME)]
    purpose = ExtendedKeyUsageOID.SERVER_AUTH if use is CertificateUse.SERVERS else ExtendedKeyUsageOID.CLIENT_AUTH
    signers_id = signer.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(*each) for each in name]))
        .issuer_name(signer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(made - BACKDATED)
        .not_valid_after(made + LIFE)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_may_agree_on_keys(), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(signers_id), critical=False)
        .add_extension(x509.SubjectAlternativeName(_alternative_names(hosts)), critical=False)
        .sign(signer.key, hashes.SHA256())
    )
    return Pair(
        certificate.public_bytes(Encoding.PEM),
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    )


def ends_at(pair: Pair) -> float:
    """When it ends, in seconds since 1970."""
    from cryptography import x509

    return x509.load_pem_x509_certificate(pair.certificate).not_valid_after_utc.timestamp()


def is_due(pair: Pair, signer: CertificateSigner, hosts: Sequence[str], *, now: float) -> bool:
    """Whether it has to be replaced: it ends soon, or is of another authority, or lacks a name.

    One that has not begun was made while this machine's clock was ahead.
    """
    from cryptography import x509

    certificate, at = x509.load_pem_x509_certificate(pair.certificate), datetime.fromtimestamp(now, tz=UTC)
    if not certificate.not_valid_before_utc <= at < certificate.not_valid_after_utc - RENEWED_EARLY:
        return True
    if not _is_signed_by(certificate, signer):
        return True
    named = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return not set(_alternative_names(hosts)) <= set(named)


def check_pair(pair: Pair, where: str, *, now: float) -> None:
    """Raises CertificateInvalid for what cannot be served, of one's own authority or another."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

    hint = "Give a certificate and its key as PEM, both of the same pair."
    try:
        certificate = x509.load_pem_x509_certificate(pair.certificate)
    except ValueError as error:
        raise CertificateInvalid(f"The certificate {where} is none.", hint=hint) from error
    try:
        key = load_pem_private_key(pair.key, None)
    except (ValueError, TypeError) as error:
        raise CertificateInvalid(
            f"The key of the certificate {where} is none, or has a password.",
            hint="Give the key as PEM without a password.",
        ) from error
    form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    if key.public_key().public_bytes(*form) != certificate.public_key().public_bytes(*form):
        raise CertificateInvalid(f"The key does not fit the certificate {where}.", hint=hint)
    ends = certificate.not_valid_after_utc
    if ends <= datetime.fromtimestamp(now, tz=UTC):
        raise CertificateInvalid(
            f"The certificate {where} has expired, on {ends:%Y-%m-%d %H:%M} UTC.",
            hint="Renew it, or set this machine's clock.",
        )


def _is_signed_by(certificate: "x509.Certificate", signer: CertificateSigner) -> bool:
    from cryptography.exceptions import InvalidSignature

    try:
        certificate.verify_directly_issued_by(signer.certificate)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _alternative_names(hosts: Sequence[str]) -> "list[x509.GeneralName]":
    from cryptography import x509

    found: list[x509.GeneralName] = [x509.DNSName(ORCHESTRATOR_NAME)]
    for host in dict.fromkeys(hosts):
        try:
            found.append(x509.IPAddress(ipaddress.ip_address(host)))
        except ValueError:
            if host.isascii() and 0 < len(host) <= _LONGEST_NAME and host != ORCHESTRATOR_NAME:
                found.append(x509.DNSName(host))
    return found


def _may_agree_on_keys() -> "x509.KeyUsage":
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
