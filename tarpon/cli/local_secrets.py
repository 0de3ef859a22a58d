"""What is known on the orchestrator's own machine: its secrets, and where its NATS server is reached."""

import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from shared.errors import ExtraMissing, NotFound

if TYPE_CHECKING:
    from orchestrator.secrets import Secrets
    from shared.config import Config, Orchestrator


def local_secrets(config: "Config", *, make: bool = False) -> "Secrets":
    """Raises NotFound where no orchestrator has run with this DataDir, unless they are to be made; SecretInvalid."""
    try:
        from orchestrator.secrets import load_secrets
        from orchestrator.service import secret_sources
    except ModuleNotFoundError as error:
        raise ExtraMissing("The orchestrator", "orchestrator") from error
    sources = secret_sources(config)
    if not make and not (sources.join_secret or sources.join_secret_file or sources.directory.is_dir()):
        raise NotFound(
            f"No orchestrator has run with {config.data_dir} yet.",
            hint="Run this on the orchestrator's machine, as its user and with its settings (-c DataDir=...).",
        )
    return load_secrets(sources)


def addresses(settings: "Orchestrator") -> tuple[str, ...]:
    """Where others reach NATS, as far as this machine can know: the cluster's servers, or our own."""
    if settings.nats.servers:
        return settings.nats.servers
    given = urlsplit(f"//{settings.advertise}")
    everywhere = settings.host in {"0.0.0.0", "::"}  # noqa: S104  # only compared
    host = given.hostname or (socket.gethostname() if everywhere else settings.host)
    return (f"nats://{f'[{host}]' if ':' in host else host}:{given.port or settings.port}",)
