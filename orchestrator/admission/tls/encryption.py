"""Encryption of what this orchestrator serves: whether it is, by which certificate, and whom others have to trust.

On loopback nobody is on the way, so that plain text is the default there, and TLS everywhere else.
"""

import socket
import ssl
from collections.abc import Iterator, Sequence
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from orchestrator.admission.tls.authority import Authority, CertificateUse, told
from orchestrator.admission.tls.certificates import CertificateInvalid
from orchestrator.admission.tls.client_certificates import (
    AskedOfClients,
    ask_for_certificates,
    asked_of_clients,
    shown_to_nats,
)
from orchestrator.admission.tls.served_certificate import GivenCertificate, MadeCertificate, Served, ServedCertificate
from shared.data.loopback_hosts import is_loopback, is_loopback_host
from shared.errors import ExtraMissing
from shared.protocol.nats_address import PLAIN, parse_nats_address
from shared.runtime import durable
from shared.runtime.tls.client_certificate import ClientCertificate
from shared.runtime.tls.trust import (
    AuthorityUnreadable,
    authorities_as_pem,
    authorities_in,
    trusting_file,
    trusting_nobody_else,
    trusting_system,
)
from shared.settings.config import ApiSettings, Config, Orchestrator
from shared.settings.input_sources import PLAIN_TEXT as INPUTS_PLAIN_TEXT
from shared.settings.input_sources import read_place

LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")
MOST_TOLD = 4
"""Certificates that are in each join token and key."""
_EVERYWHERE = frozenset({"", "0.0.0.0", "::"})  # noqa: S104  # names what is no address of a machine
_WITHOUT_TLS = "plain-text-too"


class NatsEncryption(StrEnum):
    """Of the embedded server. BOTH is for those who joined an earlier version, in plain text."""

    NONE = "none"
    BOTH = "both"
    ALWAYS = "always"


class Encryption(msgspec.Struct, frozen=True, kw_only=True):
    """What this orchestrator serves by TLS, and whom it trusts when it connects to NATS itself.

    Of a server of our own that is its very certificate, whatever name that has. `authorities` are those whom nodes have
    to trust, `api_authorities` those whom clients of the API have to.
    """

    nats: Served | None = None
    nats_clients: AskedOfClients | None = None
    nats_plain_too: bool = False
    api: Served | None = None
    api_context: ssl.SSLContext | None = None
    trust: ssl.SSLContext | None = None
    authorities: tuple[bytes, ...] = ()
    api_authorities: tuple[bytes, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def served(self) -> dict[str, Served]:
        """What is shown to whom, by the listener: `api` and `nats`."""
        return {name: each for name, each in (("api", self.api), ("nats", self.nats)) if each is not None}


def prepare(config: Config, authority: Authority, *, now: float) -> Encryption:
    """Make what is missing, and check what is given. Blocks.

    Raises CertificateInvalid, AuthorityInvalid, AuthorityUnreadable, ClientCertificateInvalid, ExtraMissing.
    """
    settings, trust = config.orchestrator, None
    nats = api = clients = None
    mode = NatsEncryption.NONE if settings.nats.servers else nats_encryption(settings, config.data_dir)
    if (mode is not NatsEncryption.NONE or api_has_tls(config.api)) and find_spec("cryptography") is None:
        raise ExtraMissing("TLS", "orchestrator")
    if mode is not NatsEncryption.NONE:
        given = nats_certificate(config, authority)
        nats = Served(given, given.load(now=now))
        trust = trusting_nobody_else(nats.shown.der)
        clients = asked_of_clients(settings, authority, tls_folder(config.data_dir), now=now)
    elif settings.nats.servers and (settings.tls.ca_cert or settings.tls.client_cert):
        trust = trusting_file(settings.tls.ca_cert) if settings.tls.ca_cert else trusting_system()
    if trust is not None and (shown := nats_client_certificate(config)):
        shown.show_by(trust)
    if api_has_tls(config.api):
        given = api_certificate(config, authority)
        api = Served(given, given.load(now=now))
    if nats or api:
        _publish(config.data_dir, authority, now)
    return Encryption(
        nats=nats,
        nats_clients=clients,
        nats_plain_too=mode is NatsEncryption.BOTH,
        api=api,
        api_context=_server_context(api, config.api.tls.client_ca) if api else None,
        trust=trust,
        authorities=nats_authorities(settings, authority, now=now),
        api_authorities=api_authorities(config.api, authority, now=now),
        warnings=tuple(_warnings(config, mode)),
    )


def nats_client_certificate(config: Config) -> ClientCertificate | None:
    """What this orchestrator, and the commands of its operator, show to NATS where that asks for it."""
    return shown_to_nats(config.orchestrator, tls_folder(config.data_dir))


def _server_context(served: Served, client_ca: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(served.certificate.certificate, served.certificate.key)
    except (ssl.SSLError, OSError) as error:
        raise CertificateInvalid(
            f"The certificate in {served.certificate.certificate} cannot be served ({type(error).__name__}).",
            hint="Give a certificate and its key as PEM, both of the same pair.",
        ) from error
    if client_ca:
        ask_for_certificates(context, client_ca)
    return context


def authority_file(data_dir: Path) -> Path:
    """With the certificates of Tarpon's own authority, to be given to whoever has to trust it."""
    return tls_folder(data_dir) / "authority.pem"


def _publish(data_dir: Path, authority: Authority, now: float) -> None:
    text = authorities_as_pem(told(authority, CertificateUse.SERVERS, now=now)).encode()
    file = authority_file(data_dir)
    if not file.exists() or file.read_bytes() != text:
        durable.write(file, text)


def _warnings(config: Config, mode: NatsEncryption) -> Iterator[str]:
    host = config.orchestrator.host
    if mode is NatsEncryption.NONE and not config.orchestrator.nats.servers and not is_loopback_host(host):
        yield (
            f"NATS has no TLS on {host}, since Orchestrator.TLS.PlainText is `only`: whoever is on the way reads the"
            " secrets with which nodes join, and all that they send."
        )
    elif plain := _in_the_clear(config.orchestrator):
        yield (
            f"What is sent to {', '.join(plain)} has no TLS: whoever is on the way reads all that is stored and asked."
            " Write tls:// before these addresses, and name their authority in Orchestrator.TLS.CACert."
        )
    if mode is NatsEncryption.BOTH:
        yield (
            "Nodes and programs may still join NATS without TLS, as with an earlier version. Give each the line that"
            " `tarpon node token show` and `tarpon agent integration show` print now, and then set"
            " Orchestrator.TLS.PlainText=never."
        )
    if not api_has_tls(config.api) and not is_loopback_host(config.api.host):
        yield (
            f"The API has no TLS on {config.api.host}, since API.TLS.PlainText is set: whoever is on the way reads and"
            " changes all that clients send."
        )
    store = config.publishers.types.s3managed
    if any(url.startswith("http://") and not is_loopback(url) for url in (store.endpoint, store.public_endpoint)):
        yield (
            "Results go over the network without TLS, since Publishers.Types.S3Managed.PlainText is set: whoever is on"
            " the way reads them, and the URLs that they are written and read with."
        )
    if any(read_place(each).is_overheard for each in config.input_sources.types.s3.allow):
        yield (
            f"Inputs go over the network without TLS, since {INPUTS_PLAIN_TEXT} is set: whoever is on the way reads"
            " them."
        )


def _in_the_clear(settings: Orchestrator) -> list[str]:
    """The servers of others that are on other machines and reached without TLS."""
    found = [] if settings.tls.ca_cert else [parse_nats_address(each) for each in settings.nats.servers]
    return [each.url for each in found if each.scheme == PLAIN and not is_loopback_host(each.host)]


def nats_encryption(settings: Orchestrator, data_dir: Path) -> NatsEncryption:
    """Reads, where it depends on it, whether a version without TLS ran here."""
    match settings.tls.plain_text:
        case "never":
            return NatsEncryption.ALWAYS
        case "also":
            return NatsEncryption.BOTH
        case "only":
            return NatsEncryption.NONE
        case "auto":
            if not has_tls(settings):
                return NatsEncryption.NONE
            is_earlier = _mark(data_dir).exists() and not settings.tls.client_ca
            return NatsEncryption.BOTH if is_earlier else NatsEncryption.ALWAYS


def has_tls(settings: Orchestrator) -> bool:
    """Whether those who join the embedded server can do it by TLS, and are told so."""
    asked = settings.tls.plain_text
    is_given = bool(settings.tls.server_cert or settings.tls.client_ca)
    return asked in {"never", "also"} or (asked == "auto" and (is_given or not is_loopback_host(settings.host)))


def remember_earlier_version(data_dir: Path) -> None:
    """Call it before anything is made: nodes of a server that ran here without TLS know of none. Blocks."""
    folder = tls_folder(data_dir)
    if folder.exists():
        return
    draft = folder.with_name(f".{folder.name}.new")
    durable.make_folder(draft)
    if data_dir.joinpath("orchestrator", "nats").exists():
        draft.joinpath(_WITHOUT_TLS).touch(mode=0o600)
        durable.sync_folder(draft)
    draft.rename(folder)
    durable.sync_folder(folder.parent)


def api_has_tls(settings: ApiSettings) -> bool:
    tls = settings.tls
    return bool(tls.cert_file or tls.self_signed or tls.client_ca) or not (
        tls.plain_text or is_loopback_host(settings.host)
    )


def tls_folder(data_dir: Path) -> Path:
    return data_dir / "orchestrator" / "tls"


def nats_certificate(config: Config, authority: Authority) -> ServedCertificate:
    tls = config.orchestrator.tls
    if tls.server_cert:
        settings = ("Orchestrator.TLS.ServerCert", "Orchestrator.TLS.ServerKey")
        return GivenCertificate(Path(tls.server_cert), Path(tls.server_key), settings=settings)
    return _made(config, authority)


def api_certificate(config: Config, authority: Authority) -> ServedCertificate:
    tls = config.api.tls
    if tls.cert_file:
        settings = ("API.TLS.CertFile", "API.TLS.KeyFile")
        return GivenCertificate(Path(tls.cert_file), Path(tls.key_file), settings=settings)
    return _made(config, authority)


def nats_authorities(settings: Orchestrator, authority: Authority, *, now: float) -> tuple[bytes, ...]:
    """Whom those have to trust who join NATS, as DER; none: whom their machines trust, or there is no TLS.

    Raises AuthorityUnreadable, AuthorityInvalid. Blocks.
    """
    if settings.tls.ca_cert:
        given = authorities_in(settings.tls.ca_cert)
        if len(given) > MOST_TOLD:
            raise AuthorityUnreadable(
                f"{settings.tls.ca_cert} holds {len(given):,} certificates, and nodes are told all of them:"
                f" {MOST_TOLD} at most.",
                hint="Name in Orchestrator.TLS.CACert a file with only the authority of your NATS servers.",
            )
        return given
    if settings.nats.servers or settings.tls.server_cert or not has_tls(settings):
        return ()
    return told(authority, CertificateUse.SERVERS, now=now)


def api_authorities(settings: ApiSettings, authority: Authority, *, now: float) -> tuple[bytes, ...]:
    """Whom clients of the API have to trust, as DER; none: whom their machines trust, or there is no TLS.

    Raises AuthorityUnreadable, AuthorityInvalid. Blocks.
    """
    if not api_has_tls(settings):
        return ()
    if not settings.tls.cert_file:
        return told(authority, CertificateUse.SERVERS, now=now)
    given = authorities_in(settings.tls.ca_file) if settings.tls.ca_file else ()
    return given if len(given) <= MOST_TOLD else ()  # a list of all the world is on their machines too


def _made(config: Config, authority: Authority) -> ServedCertificate:
    return MadeCertificate(tls_folder(config.data_dir), authority, _hosts(config))


def _hosts(config: Config) -> Sequence[str]:
    """By which others may know this machine. One certificate is for NATS and the API."""
    advertised = urlsplit(f"//{config.orchestrator.advertise}").hostname or ""
    given = (advertised, config.orchestrator.host, config.api.host, socket.gethostname())
    return (*LOCAL_HOSTS, *(host for host in given if host not in _EVERYWHERE))


def _mark(data_dir: Path) -> Path:
    return tls_folder(data_dir) / _WITHOUT_TLS
