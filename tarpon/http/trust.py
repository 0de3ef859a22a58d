"""Trust of a client: by whose certificates it knows the orchestrators of the HTTP API, and the store of results."""

import ssl
from collections.abc import Mapping

import msgspec
from msgspec.structs import replace

from shared.errors import OrchestratorUnreachable
from shared.runtime.tls.trust import trusting, trusting_file, trusting_store, trusting_system
from shared.settings.config import Config
from tarpon.http.credentials import Credentials

CA_FILE, USE_TLS, INSECURE = "TARPON_API_TLS_CAFILE", "TARPON_API_TLS_USETLS", "TARPON_API_TLS_INSECURE"
CLIENT_CERT, CLIENT_KEY = "TARPON_API_TLS_CLIENTCERT", "TARPON_API_TLS_CLIENTKEY"
STORE_CA_FILE = "TARPON_PUBLISHERS_TYPES_S3MANAGED_CAFILE"
TRUE = frozenset({"1", "true", "yes", "on"})
_SECURE = "https://"
_SETTINGS = ("API.TLS.ClientCert", "API.TLS.ClientKey")


class OrchestratorNotTrusted(OrchestratorUnreachable):
    """What answers shows a certificate that this client does not take, so that nothing was sent to it."""

    retryable = False
    advice = (
        "Name the authority of its certificate with -c API.TLS.CAFile=... (or TARPON_API_TLS_CAFILE): an orchestrator"
        " keeps Tarpon's own in DataDir/orchestrator/tls/authority.pem. See that this machine's clock is right."
    )


class ClientCertificateRefused(OrchestratorUnreachable):
    """The orchestrator lets nobody in without a certificate that it takes. `why` tells what is wrong with this one."""

    retryable = False
    advice = (
        "Name a certificate of an authority that the orchestrator takes with -c API.TLS.ClientCert=..., and its key"
        " with -c API.TLS.ClientKey=... (or TARPON_API_TLS_CLIENTCERT and TARPON_API_TLS_CLIENTKEY). Its operator has"
        " them."
    )


class OneSideEncrypts(OrchestratorUnreachable):
    """The client speaks TLS and what listens does not, or the reverse. `why` tells which."""

    retryable = False
    advice = "Write https:// or http:// before the host as the orchestrator's log has it (`Serving the API on ...`)."


class ClientTrust(msgspec.Struct, frozen=True, kw_only=True):
    """`authority` are certificates, as DER, that go before `ca_file`; without both it is whom this machine trusts.

    Hosts without a scheme are https:// where there is an authority, with `use_tls`, or `insecure`, which takes any
    certificate, and where something is shown: `client_cert` and `client_key` are the files of what an orchestrator is
    shown that asks for a certificate. `store_ca_file` has the authorities of the store of results, if this machine does
    not trust them.
    """

    authority: tuple[bytes, ...] = ()
    ca_file: str = ""
    use_tls: bool = False
    insecure: bool = False
    client_cert: str = ""
    client_key: str = ""
    store_ca_file: str = ""

    @property
    def shows(self) -> bool:
        """Whether there is a certificate to show."""
        return bool(self.client_cert)

    @property
    def scheme(self) -> str:
        is_told = self.authority or self.ca_file or self.use_tls or self.insecure or self.client_cert
        return "https" if is_told else "http"

    def api_context(self, urls: tuple[str, ...]) -> ssl.SSLContext | None:
        """None where no URL needs one. Raises AuthorityUnreadable, ClientCertificateInvalid. Blocks."""
        if not any(url.lower().startswith(_SECURE) for url in urls):
            return None
        context = self._api_trust()
        if self.client_cert or self.client_key:
            from shared.runtime.tls.client_certificate import ClientCertificate  # most show none

            shown = ClientCertificate(certificate=self.client_cert, key=self.client_key, settings=_SETTINGS)
            shown.show_by(context)
        return context

    def _api_trust(self) -> ssl.SSLContext:
        if self.insecure:
            return _taking_any()
        if self.authority:
            return trusting(self.authority)
        return trusting_file(self.ca_file) if self.ca_file else trusting_system()

    def store_context(self) -> ssl.SSLContext | None:
        """None for whom this machine trusts. Raises AuthorityUnreadable. Blocks."""
        return trusting_store(self.store_ca_file)


def trust_of(config: Config) -> ClientTrust:
    tls = config.api.tls
    return ClientTrust(
        ca_file=tls.ca_file,
        use_tls=tls.use_tls,
        insecure=tls.insecure,
        client_cert=tls.client_cert,
        client_key=tls.client_key,
        store_ca_file=config.publishers.types.s3managed.ca_file,
    )


def known_by(trust: ClientTrust, credentials: Credentials | None) -> ClientTrust:
    """With the authority that came with a key, unless another one is named."""
    if credentials is None or not credentials.authority or trust.ca_file or trust.authority or trust.insecure:
        return trust
    return replace(trust, authority=credentials.authority)


def trust_from(env: Mapping[str, str]) -> ClientTrust:
    """As the environment has it."""
    return ClientTrust(
        ca_file=env.get(CA_FILE, ""),
        use_tls=env.get(USE_TLS, "").lower() in TRUE,
        insecure=env.get(INSECURE, "").lower() in TRUE,
        client_cert=env.get(CLIENT_CERT, ""),
        client_key=env.get(CLIENT_KEY, ""),
        store_ca_file=env.get(STORE_CA_FILE, ""),
    )


def _taking_any() -> ssl.SSLContext:
    context = trusting_system()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
