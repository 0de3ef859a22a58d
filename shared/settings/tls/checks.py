"""Checks of the settings of TLS: halves of a pair, and wishes that contradict each other."""

from collections.abc import Iterator

from shared.protocol.nats_address import ENCRYPTED, PLAIN
from shared.settings.config import Config


def tls_problems(config: Config) -> Iterator[str]:
    """Each problem begins with the key."""
    api, nats, node = config.api.tls, config.orchestrator.tls, config.compute.tls
    yield from _pair("API.TLS.CertFile", api.cert_file, "API.TLS.KeyFile", api.key_file)
    yield from _pair("Orchestrator.TLS.ServerCert", nats.server_cert, "Orchestrator.TLS.ServerKey", nats.server_key)
    yield from _pair("API.TLS.ClientCert", api.client_cert, "API.TLS.ClientKey", api.client_key)
    yield from _pair("Orchestrator.TLS.ClientCert", nats.client_cert, "Orchestrator.TLS.ClientKey", nats.client_key)
    yield from _pair("Compute.TLS.ClientCert", node.client_cert, "Compute.TLS.ClientKey", node.client_key)
    if api.plain_text and (api.cert_file or api.self_signed):
        yield "API.TLS.PlainText contradicts API.TLS.CertFile and API.TLS.SelfSigned; set one of them"
    if api.insecure and api.ca_file:
        yield "API.TLS.Insecure takes any certificate, so that API.TLS.CAFile has no effect; set one of them"
    if nats.plain_text == "only" and nats.server_cert:
        yield "Orchestrator.TLS.PlainText is `only`, so that Orchestrator.TLS.ServerCert has no effect; set one of them"
    if api.plain_text and api.client_ca:
        yield "API.TLS.PlainText contradicts API.TLS.ClientCA, since a certificate is shown by TLS; set one of them"
    yield from _client_problems(config)
    if node.ca_cert and node.authority:
        yield "Compute.TLS.CACert and Compute.TLS.Authority are both set; keep one of them"
    yield from _mixed("Compute.Orchestrators", config.compute.orchestrators)
    yield from _mixed("Orchestrator.NATS.Servers", config.orchestrator.nats.servers)


def _client_problems(config: Config) -> Iterator[str]:
    """Of the certificates that those show who join NATS."""
    nats, servers = config.orchestrator.tls, config.orchestrator.nats.servers
    if nats.client_ca and nats.plain_text in {"also", "only"}:
        yield (
            f"Orchestrator.TLS.PlainText is `{nats.plain_text}`, so that nobody would have to show a certificate of"
            " Orchestrator.TLS.ClientCA; set one of them"
        )
    if nats.client_ca and servers:
        yield (
            "Orchestrator.TLS.ClientCA is of our own NATS server, and Orchestrator.NATS.Servers names others, which"
            " have settings of their own; set one of them"
        )
    if nats.client_cert and not servers:
        yield (
            "Orchestrator.TLS.ClientCert is for Orchestrator.NATS.Servers, of which there are none: our own NATS server"
            " takes a certificate that the orchestrator makes for itself"
        )


def _pair(certificate: str, has_certificate: str, key: str, has_key: str) -> Iterator[str]:
    if bool(has_certificate) != bool(has_key):
        missing, given = (key, certificate) if has_certificate else (certificate, key)
        yield f"{missing} is missing, which {given} needs"


def _mixed(key: str, addresses: tuple[str, ...]) -> Iterator[str]:
    """Whoever was told TLS is not to be sent on to somebody without."""
    schemes = {address.partition("://")[0].lower() if "://" in address else PLAIN for address in addresses}
    if {ENCRYPTED, PLAIN} <= schemes:
        yield f"{key} mixes addresses with and without tls://; the same secrets go to both"
