"""The command `tarpon serve`: an orchestrator, a compute node, or both in one process."""

import asyncio
import faulthandler
import logging
import os
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Protocol

import click

from shared.errors import ExtraMissing
from tarpon.cli.console.commands import Command, given
from tarpon.import_names import shadowed

if TYPE_CHECKING:
    from orchestrator.admission.secret_files import Secrets
    from shared.runtime.service_manager import ServiceManager
    from shared.settings.config import Config
    from shared.settings.loading import LoadedConfig
    from shared.settings.secret import Secret
    from shared.settings.tls.declared import FilePath

_log = logging.getLogger(__name__)

_OURS = ("orchestrator", "compute", "shared", "tarpon")


class Service(Protocol):
    """It serves until it is cancelled, and calls `ready` when it does."""

    def __call__(self, config: "Config", *, ready: Callable[[], None]) -> Awaitable[None]: ...


@click.command(cls=Command)
@click.option("--orchestrator", is_flag=True, help="Be an orchestrator (also where nothing else is named).")
@click.option("--compute", is_flag=True, help="Be a compute node.")
@click.option(
    "--restored",
    is_flag=True,
    help="What the orchestrator has stored was restored from a backup: tell new decisions apart from those after it.",
)
@click.option("--data-dir", metavar="DIR", help="DataDir: where this process keeps what must outlive it.")
def serve(*, orchestrator: bool, compute: bool, restored: bool, data_dir: str | None) -> None:
    """Run an orchestrator, a compute node, or both, until SIGTERM or Ctrl-C; a second signal kills."""
    sets = [*(["Orchestrator.Enabled=true"] if orchestrator else []), *(["Compute.Enabled=true"] if compute else [])]
    sets += [f"DataDir={data_dir}"] if data_dir else []
    loaded = given().load(*sets, check_publisher=orchestrator or not compute)
    config = loaded.config

    import uvloop

    from shared.runtime import allocator, garbage, log_lines
    from shared.runtime.service_manager import ServiceManager

    manager = ServiceManager.of(os.environ)
    if manager.watches:
        faulthandler.enable()  # it ends a process that hangs by SIGABRT, and then the log says where that was
    log_lines.set_up(config.logging.level, config.logging.mode)
    garbage.look_rarely()
    allocator.give_freed_memory_back()  # a compute node, which packs results, says otherwise
    services: dict[str, Service] = {}
    if config.orchestrator.enabled or not config.compute.enabled:
        services["orchestrator"] = partial(_orchestrator(), restored=restored)
    elif restored:
        raise click.UsageError("--restored is of an orchestrator, and this is a compute node alone.")
    if config.compute.enabled:
        services["compute"] = _compute()
    if len(services) > 1:
        config, own_node = _joined(loaded)
        services["orchestrator"] = partial(_orchestrator(), restored=restored, own_node=own_node)
    uvloop.run(_run(services, config, manager))


def _joined(loaded: "LoadedConfig") -> tuple["Config", "Secret"]:
    """The configuration in which the compute node joins the orchestrator of its own process, if told of no other.

    And what it shows at its first join, which both have in memory alone, where there is no join secret.
    """
    from msgspec.structs import replace

    from orchestrator.admission.secret_files import load_secrets
    from orchestrator.admission.tls.encryption import nats_authorities
    from orchestrator.nats_servers.addresses import own_address
    from orchestrator.service import secret_sources
    from shared.runtime.tls.trust import authorities_as_text
    from shared.settings.secret import Secret

    config, compute = loaded.config, loaded.config.compute
    kept, own_node = load_secrets(secret_sources(config)), Secret()
    if not (compute.auth.token or compute.auth.token_file):
        own_node = kept.join_secret or Secret(secrets.token_urlsafe(32))
        compute = replace(compute, auth=replace(compute.auth, token=own_node))
    if loaded.origins["Compute.Orchestrators"] == "default":
        compute = replace(compute, orchestrators=(own_address(config.orchestrator),))
        trusted = nats_authorities(config.orchestrator, kept.authority, now=time.time())
        if trusted and not (compute.tls.ca_cert or compute.tls.authority):
            compute = replace(compute, tls=replace(compute.tls, authority=authorities_as_text(trusted)))
        if config.orchestrator.tls.client_ca and not compute.tls.client_cert:
            own = _own_certificate(config, kept)
            compute = replace(compute, tls=replace(compute.tls, client_cert=own, client_key=own))
    return replace(config, compute=compute), own_node


def _own_certificate(config: "Config", kept: "Secrets") -> "FilePath":
    """The file of the one that the orchestrator shows to its NATS server, which the node of its process shows too."""
    from orchestrator.admission.tls.client_certificates import asked_of_clients
    from orchestrator.admission.tls.encryption import remember_earlier_version, tls_folder
    from shared.settings.tls.declared import FilePath

    remember_earlier_version(config.data_dir)
    asked = asked_of_clients(config.orchestrator, kept.authority, tls_folder(config.data_dir), now=time.time())
    assert asked is not None
    return FilePath(asked.own.certificate.certificate)


async def _run(services: dict[str, Service], config: "Config", manager: "ServiceManager") -> None:
    """Run until told to stop. The compute node stops first, so that it can still report to the orchestrator."""
    from shared.runtime.aio import background, first_leaf, stop_requested

    starting = set(services)

    def is_ready(name: str) -> None:
        starting.discard(name)
        if not starting:
            manager.ready()

    try:
        async with background(manager=manager.run()), stop_requested() as stop, asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(_as_coroutine(run(config, ready=partial(is_ready, name))), name=name)
                for name, run in services.items()
            ]
            await stop.wait()
            began = time.monotonic()
            told, within = _stops(services, config)
            manager.stopping(within_seconds=within)
            _log.info("Stopping: %s. A second signal ends this at once.", told)
            for task in reversed(tasks):
                task.cancel()
                await asyncio.wait([task])
    except BaseExceptionGroup as errors:
        raise first_leaf(errors) from errors
    _log.info("Stopped, after %.1f s.", time.monotonic() - began)


def _stops(services: Iterable[str], config: "Config") -> tuple[str, float]:
    """What each service does at its stop, in the order in which they stop, and how many seconds all may take."""
    told, within = [], 0.0
    for name in reversed(list(services)):
        if name == "compute":
            from compute.service import at_stop, stop_seconds
        else:
            from orchestrator.service import at_stop, stop_seconds
        told.append(at_stop(config))
        within += stop_seconds(config)
    return "; then ".join(told), within


async def _as_coroutine(serving: Awaitable[None]) -> None:
    await serving


def _orchestrator() -> Callable[..., Awaitable[None]]:
    try:
        from orchestrator.service import run
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in _OURS or shadowed("orchestrator"):
            raise
        raise ExtraMissing("An orchestrator", "orchestrator") from error
    return run


def _compute() -> Service:
    from compute.service import run

    return run
