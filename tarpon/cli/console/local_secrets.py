"""Secrets on the orchestrator's own machine, and where its NATS server is reached."""

import time
from typing import TYPE_CHECKING

import click

from shared.errors import ExtraMissing, NotFound
from tarpon.import_names import shadowed

if TYPE_CHECKING:
    import ssl

    from orchestrator.admission.secret_files import Secrets
    from shared.settings.config import Config


def local_secrets(config: "Config", *, make: bool = False) -> "Secrets":
    """Raises NotFound where no orchestrator has run with this DataDir, unless they are to be made; SecretInvalid."""
    try:
        from orchestrator.admission.secret_files import load_secrets
        from orchestrator.service import secret_sources
    except ModuleNotFoundError as error:
        if shadowed("orchestrator"):
            raise
        raise ExtraMissing("The orchestrator", "orchestrator") from error
    sources = secret_sources(config)
    if not make and not (sources.join_secret or sources.join_secret_file or sources.directory.is_dir()):
        raise NotFound(
            f"No orchestrator has run with {config.data_dir} yet.",
            hint="Run this on the orchestrator's machine, as its user and with its settings (-c DataDir=...).",
        )
    return load_secrets(sources)


def nats_addresses(config: "Config") -> tuple[str, ...]:
    """Where others reach NATS, as the orchestrator that runs here has it; where none runs, by the settings given."""
    from orchestrator.nats_servers.addresses import addresses, running_addresses

    if running := running_addresses(config.data_dir):
        return running
    click.echo(
        f"Warning: No orchestrator is known to run with {config.data_dir}, so the address is that of the settings"
        " given here.",
        err=True,
    )
    return addresses(config.orchestrator)


def nats_trust(config: "Config", secrets: "Secrets") -> tuple[bytes, ...]:
    """The certificates of those who vouch for NATS, which others have to be told; none where machines know them."""
    from orchestrator.admission.tls.encryption import nats_authorities

    return nats_authorities(config.orchestrator, secrets.authority, now=time.time())


def own_trust(config: "Config", secrets: "Secrets") -> "ssl.SSLContext | None":
    """Of commands that connect to NATS as the orchestrator does."""
    from orchestrator.admission.tls.encryption import nats_authorities, nats_client_certificate
    from shared.runtime.tls.trust import trusting, trusting_system

    authorities = nats_authorities(config.orchestrator, secrets.authority, now=time.time())
    context, shown = trusting(authorities) if authorities else None, nats_client_certificate(config)
    if shown is not None:
        context = context or trusting_system()
        shown.show_by(context)
    return context
