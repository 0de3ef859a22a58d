"""The authority: whose certificates those trust who join, and what follows from its secret.

All is computed from one line, the instant at which it was made and random bytes. So orchestrators that share that line
have the same authority, and agree on its successors without a word. There is one for servers and one for clients: what
is signed by one is nothing to those who trust the other.

An authority lives for ten years, and each five years there is the next. The older one signs until its last year, so
that whoever joins, and is told all that live, knows the next one years before it signs.

Everything here is a function of its arguments; `now` is in seconds since 1970.
"""

import base64
import binascii
import hmac
import re
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import msgspec

from shared.errors import InvalidInput
from shared.runtime.tls.trust import ORGANIZATION
from shared.settings.secret import Secret

if TYPE_CHECKING:
    from cryptography import x509

SECRET_BYTES = 32
LIFE = timedelta(days=3650)
NEXT_AFTER = LIFE / 2
SIGNS_NO_MORE = timedelta(days=400)
"""Longer than a certificate that it has signed lives, so that none outlives its authority."""
BACKDATED = timedelta(days=1)
"""So that a machine whose clock is some hours behind takes it for valid."""

_FORM = re.compile(r"(?P<made>[0-9]{1,11})\.(?P<random>[A-Za-z0-9_-]{43})")
_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Of the curve P-256: private keys are below it."""


class CertificateUse(StrEnum):
    """What the certificates of an authority are for."""

    SERVERS = "servers"
    CLIENTS = "clients"


class AuthorityInvalid(InvalidInput):
    """What is given as an authority's secret is none, or its time has not come."""


class CertificateSigner(msgspec.Struct, frozen=True):
    """One authority of the row. `certificate` is its own, which it has signed itself."""

    certificate: Any
    key: Any

    def __repr__(self) -> str:
        return f"<CertificateSigner {self.certificate.subject.rfc4514_string()}>"


class Authority(msgspec.Struct, frozen=True, kw_only=True):
    """What an authority's secret says, taken apart."""

    made: int
    random: bytes

    def __repr__(self) -> str:
        return f"<Authority made at {self.made}>"


def new_secret(random: bytes, *, now: float) -> str:
    """One line, to be kept where nobody else reads it."""
    return f"{int(now)}.{base64.urlsafe_b64encode(random).decode().rstrip('=')}"


def read_secret(secret: Secret) -> Authority:
    """Raises AuthorityInvalid, which does not show it."""
    found = _FORM.fullmatch(secret.reveal())
    try:
        if found is not None:
            return Authority(made=int(found["made"]), random=base64.urlsafe_b64decode(found["random"] + "="))
    except binascii.Error:
        pass
    raise AuthorityInvalid(
        "The secret of the authority is not one: it is damaged, or of something else.",
        hint="Restore the file from a backup, or copy it from another orchestrator. A new one is made where there is"
        " none, and then all who joined have to be told anew whom to trust.",
    )


def told(authority: Authority, use: CertificateUse, *, now: float) -> tuple[bytes, ...]:
    """The certificates, as DER, of all that live: whoever joins is told these. Raises AuthorityInvalid."""
    from cryptography.hazmat.primitives.serialization import Encoding

    first, last = _first_alive(authority, now), _newest(authority, now)
    signers = (_signer(authority, use, number) for number in range(first, last + 1))
    return tuple(bytes(each.certificate.public_bytes(Encoding.DER)) for each in signers)


def signing(authority: Authority, use: CertificateUse, *, now: float) -> CertificateSigner:
    """The one that signs at present. Raises AuthorityInvalid."""
    wanted = _first_alive(authority, now + SIGNS_NO_MORE.total_seconds())
    return _signer(authority, use, min(wanted, _newest(authority, now)))


def _first_alive(authority: Authority, now: float) -> int:
    """The number of the oldest one that has not ended."""
    since_the_first_ended = now - authority.made - LIFE.total_seconds()
    return max(0, int(since_the_first_ended // NEXT_AFTER.total_seconds()) + 1)


def _newest(authority: Authority, now: float) -> int:
    age = now - authority.made
    if age < -BACKDATED.total_seconds():
        raise AuthorityInvalid(
            "The authority that signs certificates was made later than this machine's clock says.",
            hint="Set the clock: all who join would refuse what is signed before its time.",
        )
    return max(0, int(age // NEXT_AFTER.total_seconds()))


def _signer(authority: Authority, use: CertificateUse, number: int) -> CertificateSigner:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    what = f"tarpon authority {use} {number} "
    key = ec.derive_private_key(1 + _number(authority, f"{what}key") % (_ORDER - 1), ec.SECP256R1())
    made = datetime.fromtimestamp(authority.made, tz=UTC) + number * NEXT_AFTER
    name = _name(authority, use, number)
    own_id = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1 + (_number(authority, f"{what}serial") >> 385))  # RFC 5280: 20 octets at most
        .not_valid_before(made - BACKDATED)
        .not_valid_after(made + LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_may_sign(), critical=True)
        .add_extension(own_id, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own_id), critical=False)
        .sign(key, hashes.SHA256(), ecdsa_deterministic=True)
    )
    return CertificateSigner(certificate, key)


def _name(authority: Authority, use: CertificateUse, number: int) -> "x509.Name":
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    mark = hmac.digest(authority.random, b"tarpon authority name", "sha256").hex()[:8]
    common = f"{mark} {use} {number + 1}"  # short, since it is in each token
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANIZATION),
            x509.NameAttribute(NameOID.COMMON_NAME, common),
        ]
    )


def _may_sign() -> "x509.KeyUsage":
    """Python refuses an authority that does not say this since 3.13."""
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )


def _number(authority: Authority, what: str) -> int:
    """512 bits that follow from the secret: twice as many as a key has, so that no key is likelier than another."""
    made = str(authority.made).encode()
    return int.from_bytes(hmac.digest(authority.random, what.encode() + made, "sha512"))
