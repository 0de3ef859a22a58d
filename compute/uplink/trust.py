"""Trust of a node: by whose certificates it knows its orchestrators, what it shows them, and whether it has TLS."""

import ssl
from collections.abc import Sequence

from shared.data.loopback_hosts import is_loopback_host
from shared.protocol.nats_address import PLAIN, parse_nats_address
from shared.runtime.tls.client_certificate import ClientCertificate
from shared.runtime.tls.trust import authorities_from_text, authorities_in, trusting, trusting_system
from shared.settings.tls.declared import ComputeTls

SETTINGS = ("Compute.TLS.ClientCert", "Compute.TLS.ClientKey")


def certificate_of(settings: ComputeTls) -> ClientCertificate | None:
    """What the node shows to servers that ask for it."""
    if not settings.client_cert:
        return None
    return ClientCertificate(certificate=settings.client_cert, key=settings.client_key, settings=SETTINGS)


def trust_of(settings: ComputeTls, told: Sequence[bytes] = ()) -> ssl.SSLContext | None:
    """None where nobody asked for TLS but for addresses with tls://, which are trusted as this machine does.

    `told` are the certificates, as DER, of an authority that the node was given with what it joins by; a setting goes
    before them. Raises AuthorityUnreadable, ClientCertificateInvalid. Blocks.
    """
    context = _trust_of(settings, told)
    if context is not None and (shown := certificate_of(settings)):
        shown.show_by(context)
    return context


def _trust_of(settings: ComputeTls, told: Sequence[bytes]) -> ssl.SSLContext | None:
    if settings.ca_cert:
        return trusting(authorities_in(settings.ca_cert))
    if settings.authority:
        return trusting(authorities_from_text(settings.authority))
    if told:
        return trusting(told)
    return trusting_system() if settings.require_tls or settings.client_cert else None


def in_the_clear(servers: Sequence[str], trust: ssl.SSLContext | None) -> tuple[str, ...]:
    """Addresses on other machines to which all is sent without TLS."""
    found = [parse_nats_address(each) for each in servers] if trust is None else []
    return tuple(each.url for each in found if each.scheme == PLAIN and not is_loopback_host(each.host))
