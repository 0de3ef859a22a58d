"""Settings of TLS: whose certificates are served, and whose are trusted. Most keys are Bacalhau's."""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from shared.jobs.durations import Duration


class FilePath(str):
    """The name of a file, `~` being the home directory; empty means that none is set."""

    __slots__ = ()


NatsPlainText = Literal["auto", "never", "also", "only"]


class ApiTls(Struct, frozen=True, kw_only=True, rename="pascal"):
    cert_file: Annotated[
        FilePath,
        Meta(description="The certificate that the API shows, as PEM, if not one of Tarpon's own authority."),
    ] = FilePath()
    key_file: Annotated[FilePath, Meta(description="Its key, as PEM.")] = FilePath()
    ca_file: Annotated[
        FilePath,
        Meta(
            description="The authorities, as PEM, by one of which a client knows the API; empty is whom this machine"
            " trusts. Hosts without a scheme are https:// then."
        ),
    ] = field(default=FilePath(), name="CAFile")
    client_ca: Annotated[
        FilePath,
        Meta(
            description="The authorities, as PEM, of one of which all who call the API have to show a certificate,"
            " beside a key; empty asks for none. The Unix socket asks for none."
        ),
    ] = field(default=FilePath(), name="ClientCA")
    client_cert: Annotated[
        FilePath, Meta(description="The certificate that a client shows, as PEM, where the API asks for one.")
    ] = FilePath()
    client_key: Annotated[FilePath, Meta(description="Its key, as PEM.")] = FilePath()
    self_signed: Annotated[
        bool, Meta(description="Whether the API has TLS by Tarpon's own authority where API.Host is loopback, too.")
    ] = False
    use_tls: Annotated[bool, Meta(description="Whether a client takes hosts without a scheme for https://.")] = field(
        default=False, name="UseTLS"
    )
    insecure: Annotated[
        bool, Meta(description="Whether a client takes any certificate: then anybody on the way can be the API.")
    ] = False
    plain_text: Annotated[
        bool,
        Meta(description="Whether the API has no TLS although API.Host is not loopback, so that others can read all."),
    ] = False


class OrchestratorTls(Struct, frozen=True, kw_only=True, rename="pascal"):
    server_cert: Annotated[
        FilePath,
        Meta(description="The certificate that our own NATS server shows, as PEM, if not one of Tarpon's authority."),
    ] = FilePath()
    server_key: Annotated[FilePath, Meta(description="Its key, as PEM.")] = FilePath()
    ca_cert: Annotated[
        FilePath,
        Meta(
            description="The authorities, as PEM, of ServerCert or of the servers of Orchestrator.NATS.Servers, which"
            " nodes are told."
        ),
    ] = field(default=FilePath(), name="CACert")
    client_ca: Annotated[
        FilePath,
        Meta(
            description="The authorities, as PEM, of one of which all who join our own NATS server have to show a"
            " certificate, beside a token or key; empty asks for none. With it nobody joins without TLS."
        ),
    ] = field(default=FilePath(), name="ClientCA")
    client_cert: Annotated[
        FilePath,
        Meta(
            description="The certificate that the orchestrator shows, as PEM, where the servers of"
            " Orchestrator.NATS.Servers ask for one."
        ),
    ] = FilePath()
    client_key: Annotated[FilePath, Meta(description="Its key, as PEM.")] = FilePath()
    server_timeout: Annotated[
        int,
        Meta(ge=1, le=60, description="How many seconds TLS may take to begin on our own NATS server."),
    ] = 10
    authority_file: Annotated[
        FilePath,
        Meta(description="The secret of Tarpon's own authority, shared by orchestrators; made in DataDir if empty."),
    ] = FilePath()
    plain_text: Annotated[
        NatsPlainText,
        Meta(
            description="Who may join our own NATS server without TLS: `never` nobody, `also` those who want, `only`"
            " everybody, since it has none. `auto` is `only` where Orchestrator.Host is loopback, `also` where an"
            " earlier version without TLS ran, else `never`."
        ),
    ] = "auto"
    renewal_patience: Annotated[
        Duration,
        Meta(
            description="How long our own NATS server waits with a renewed certificate for a moment at which no job"
            " runs: nodes and programs connect again then. 0 is not at all."
        ),
    ] = Duration(3600)


class ComputeTls(Struct, frozen=True, kw_only=True, rename="pascal"):
    ca_cert: Annotated[
        FilePath,
        Meta(
            description="The authorities, as PEM, by which the node knows its orchestrators; it always uses TLS then."
        ),
    ] = field(default=FilePath(), name="CACert")
    authority: Annotated[str, Meta(description="The same as a text, as `tarpon node token show` prints it.")] = ""
    client_cert: Annotated[
        FilePath,
        Meta(
            description="The certificate that the node shows, as PEM, where NATS servers ask for one. It implies TLS."
        ),
    ] = FilePath()
    client_key: Annotated[FilePath, Meta(description="Its key, as PEM.")] = FilePath()
    require_tls: Annotated[bool, Meta(description="Whether the node uses TLS, whatever its addresses begin with.")] = (
        field(default=False, name="RequireTLS")
    )
