"""Trust: whose certificates a client takes for those of the server that it looks for.

With an authority of Tarpon's own the addresses do not matter, which change: each of its certificates is an
orchestrator's, under one fixed name. With any other authority, or the system's, it is the name in the address.
"""

import base64
import binascii
import socket
import ssl
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from shared.errors import InvalidInput

ORGANIZATION = "Tarpon"
"""Of whom the certificate of an authority of Tarpon's says to be."""
ORCHESTRATOR_NAME = "orchestrator.tarpon"
"""In the certificate of each orchestrator that such an authority has signed."""
MAX_AUTHORITY_BYTES = 1 << 20
_LONGEST_TEXT = 64 << 10


class AuthorityUnreadable(InvalidInput):
    """A file, or a text, that should name an authority and does not."""


class _ByFixedName(ssl.SSLContext):
    """Looks for the fixed name, whatever address the caller has."""

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,  # noqa: FBT001, FBT002  # the library's own
        server_hostname: str | bytes | None = None,  # noqa: ARG002  # an address, which may be any
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        return super().wrap_bio(incoming, outgoing, server_side, ORCHESTRATOR_NAME, session)

    def wrap_socket(self, sock: socket.socket, *args: Any, **options: Any) -> ssl.SSLSocket:
        return super().wrap_socket(sock, *args, **{**options, "server_hostname": ORCHESTRATOR_NAME})


def trusting(authorities: Sequence[bytes], *, by_address: bool = False) -> ssl.SSLContext:
    """A client's context that trusts these alone, certificates as DER. Raises AuthorityUnreadable.

    `by_address` is for what is no orchestrator.
    """
    try:
        context = ssl.create_default_context(cadata=b"".join(authorities))
    except (ssl.SSLError, ValueError) as error:
        raise AuthorityUnreadable(
            "What is given as the certificate of an authority is none.",
            hint="It has to be a certificate as PEM, which begins with -----BEGIN CERTIFICATE-----.",
        ) from error
    if _are_tarpons(context) and not by_address:
        context = _ByFixedName(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=b"".join(authorities))
        context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_TRUSTED_FIRST
    return _with_limits(context)


def trusting_system() -> ssl.SSLContext:
    """A client's context that trusts whom this machine trusts, or the file that SSL_CERT_FILE names."""
    return _with_limits(ssl.create_default_context())


def trusting_file(path: Path | str, *, by_address: bool = False) -> ssl.SSLContext:
    """A client's context that trusts the authorities of this file alone. Raises AuthorityUnreadable. Blocks."""
    return trusting(authorities_in(path), by_address=by_address)


def trusting_store(ca_file: Path | str) -> ssl.SSLContext | None:
    """Of the store of results: by this file, or, where it is empty, by this machine, for which it takes no context.

    Raises AuthorityUnreadable. Blocks.
    """
    return trusting_file(ca_file, by_address=True) if ca_file else None


def trusting_nobody_else(certificate: bytes) -> ssl.SSLContext:
    """A client's context that takes this very certificate, as DER, whatever its name and whoever signed it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(cadata=certificate)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return _with_limits(context)


def authorities_in(path: Path | str) -> tuple[bytes, ...]:
    """The certificates of a file, as DER. Raises AuthorityUnreadable. Blocks."""
    try:
        with Path(path).open("rb") as file:
            content = file.read(MAX_AUTHORITY_BYTES)
    except OSError as error:
        raise AuthorityUnreadable(
            f"The authority's certificate in {path} cannot be read: {error.strerror}.",
            hint="Give a file that this user can read.",
        ) from error
    found = tuple(certificates_in(content.decode("ascii", errors="replace")))
    if not found:
        raise AuthorityUnreadable(
            f"{path} holds no certificate.",
            hint="It has to be a certificate as PEM, which begins with -----BEGIN CERTIFICATE-----.",
        )
    return found


def authorities_from_text(text: str) -> tuple[bytes, ...]:
    """Those that `authorities_as_text` wrote. Raises AuthorityUnreadable."""
    try:
        if 0 < len(text) <= _LONGEST_TEXT:
            return tuple(_decoded(each) for each in text.split("."))
    except (binascii.Error, ValueError):
        pass
    raise AuthorityUnreadable(
        "What is given as an authority is no certificate: it is cut off, or mistyped.",
        hint="Copy it whole, as `tarpon node token show` prints it.",
    )


def authorities_as_text(authorities: Iterable[bytes]) -> str:
    """For a command line: base64url, with a dot between them. They are no secret."""
    return ".".join(base64.urlsafe_b64encode(each).decode().rstrip("=") for each in authorities)


def authorities_as_pem(authorities: Iterable[bytes]) -> str:
    return "".join(ssl.DER_cert_to_PEM_cert(each) for each in authorities)


def _decoded(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def certificates_in(pem: str) -> Iterator[bytes]:
    """As DER; none where there is none."""
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    for part in pem.split(begin)[1:]:
        try:
            yield base64.b64decode("".join(part.partition(end)[0].split()), validate=True)
        except binascii.Error:
            return


def _are_tarpons(context: ssl.SSLContext) -> bool:
    """Whether no other authority is among those that it trusts, whose certificates may have any name."""
    found = context.get_ca_certs()
    return bool(found) and all(_organization(each.get("subject", ())) == ORGANIZATION for each in found)


def _organization(subject: object) -> str:
    parts = [pair for group in subject for pair in group] if isinstance(subject, tuple) else []
    return next((str(value) for name, value in parts if name == "organizationName"), "")


def _with_limits(context: ssl.SSLContext) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
