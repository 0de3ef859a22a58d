"""What is known on the orchestrator's own machine: its secrets, and where its NATS server is reached."""

import asyncio
import socket
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from shared.errors import ExtraMissing, NotFound, OrchestratorUnreachable, TarponError
from shared.plain_text import printable
from shared.secret import HIDDEN

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


def nats_addresses(config: "Config") -> tuple[str, ...]:
    """Where others reach NATS, as the running orchestrator has it; where none runs, as the settings here have it."""
    try:
        running = asyncio.run(_running(config))
    except OrchestratorUnreachable:
        click.echo("Warning: No orchestrator answers, so the address is that of the settings given here.", err=True)
    except (TarponError, LookupError, TypeError) as error:
        told = error.message if isinstance(error, TarponError) else "it does not tell its settings."
        click.echo(f"Warning: The address is that of the settings given here: {printable(told)}", err=True)
    else:
        if running is not None:
            return addresses(running)
    return addresses(config.orchestrator)


async def _running(config: "Config") -> "Orchestrator | None":
    """None where another one answers than that whose secrets are here. Raises what the client raises; LookupError."""
    from tarpon.client import Client

    async with Client(config.api.host, config.api.port) as client:
        told = (await client.agent_config()).config
    if told["DataDir"] != str(config.data_dir):
        click.echo(
            f"Warning: The orchestrator that answers has its data in {printable(str(told['DataDir']))}, not in"
            f" {config.data_dir}, so the address is that of the settings given here.",
            err=True,
        )
        return None
    return _as_told(told["Orchestrator"], config.orchestrator)


def _as_told(told: Any, known: "Orchestrator") -> "Orchestrator":
    """What is hidden there is known here only."""
    from msgspec.structs import replace

    servers = tuple(map(str, told["NATS"]["Servers"]))
    nats = known.nats if any(HIDDEN in each for each in servers) else replace(known.nats, servers=servers)
    return replace(known, host=str(told["Host"]), port=int(told["Port"]), advertise=str(told["Advertise"]), nats=nats)


def addresses(settings: "Orchestrator") -> tuple[str, ...]:
    """Where others reach NATS by these settings, as far as this machine can know: the cluster's servers, or our own."""
    if settings.nats.servers:
        return settings.nats.servers
    given = urlsplit(f"//{settings.advertise}")
    everywhere = settings.host in {"0.0.0.0", "::"}  # noqa: S104  # only compared
    host = given.hostname or (socket.gethostname() if everywhere else settings.host)
    return (f"nats://{f'[{host}]' if ':' in host else host}:{given.port or settings.port}",)
