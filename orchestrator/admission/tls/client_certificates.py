"""Client certificates as the orchestrator sees them: whose it asks for, and what it shows to NATS itself.

Our own server takes those of the operator's authorities, and of Tarpon's own authority for clients, by which the
orchestrator makes one for itself: so its operator has none to give it.
"""

import ssl
from pathlib import Path

import msgspec

from orchestrator.admission.tls.authority import Authority, CertificateUse, told
from orchestrator.admission.tls.served_certificate import MadeCertificate, Served
from shared.runtime import durable
from shared.runtime.tls.client_certificate import ClientCertificate
from shared.runtime.tls.trust import authorities_as_pem, authorities_in
from shared.settings.config import Orchestrator

_SETTINGS = ("Orchestrator.TLS.ClientCert", "Orchestrator.TLS.ClientKey")


class AskedOfClients(msgspec.Struct, frozen=True, kw_only=True):
    """`taken` is a file with the authorities of one of which a certificate has to be; `own` is what we show."""

    taken: Path
    own: Served


def asked_of_clients(
    settings: Orchestrator, authority: Authority, folder: Path, *, now: float
) -> AskedOfClients | None:
    """What our own NATS server asks for; None where it asks for none. Makes what is missing in `folder`. Blocks.

    Raises AuthorityUnreadable, AuthorityInvalid.
    """
    if not settings.tls.client_ca:
        return None
    own = MadeCertificate(folder, authority, (), use=CertificateUse.CLIENTS)
    found = authorities_in(settings.tls.client_ca) + told(authority, CertificateUse.CLIENTS, now=now)
    shown, taken = own.load(now=now), folder / "clients.pem"
    text = authorities_as_pem(found).encode()
    if not taken.exists() or taken.read_bytes() != text:
        durable.write(taken, text)
    return AskedOfClients(taken=taken, own=Served(own, shown))


def shown_to_nats(settings: Orchestrator, folder: Path) -> ClientCertificate | None:
    """What orchestrators show to the servers that the settings name; `folder` is where the one for our own is."""
    if settings.tls.client_ca:
        own = str(MadeCertificate.file(folder, CertificateUse.CLIENTS))
        return ClientCertificate(certificate=own, key=own, settings=("DataDir", "DataDir"))
    if not settings.tls.client_cert:
        return None
    return ClientCertificate(certificate=settings.tls.client_cert, key=settings.tls.client_key, settings=_SETTINGS)


def ask_for_certificates(context: ssl.SSLContext, client_ca: str) -> None:
    """Have the context, which is a server's, let nobody in without one of these authorities.

    Raises AuthorityUnreadable. Blocks.
    """
    context.load_verify_locations(cadata=b"".join(authorities_in(client_ca)))
    context.verify_mode = ssl.CERT_REQUIRED
