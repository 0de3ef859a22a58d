"""The orchestrator as a service: the one place that opens what it needs, in order, and closes it in reverse."""

import asyncio
import errno
import gc
import logging
import socket
import ssl
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from aiohttp import web
from msgspec.structs import replace

from orchestrator.admission.auth import serve_auth
from orchestrator.admission.bounds.attempts import NatsAttempts
from orchestrator.admission.bounds.held_back import HeldBack
from orchestrator.admission.budgets import Budgets
from orchestrator.admission.identities import Identities
from orchestrator.admission.nats_accounts import KnownAccounts
from orchestrator.admission.node_keys import StoredNodeKeys
from orchestrator.admission.secret_files import Secrets, SecretSources, left_join_secret, load_secrets
from orchestrator.admission.sign_in.sign_in import SignIn
from orchestrator.admission.tls.encryption import Encryption, prepare, remember_earlier_version
from orchestrator.api.access.local_listener import local_listener
from orchestrator.api.app import Api
from orchestrator.assembly import Assembly, assembled
from orchestrator.audit.opening import audit_of
from orchestrator.audit.recorder import Audit
from orchestrator.data_folder import kept_name, locked
from orchestrator.leader import Leader
from orchestrator.nats_api.requests import Integrations
from orchestrator.nats_servers.addresses import kept_addresses
from orchestrator.nats_servers.opening import OpenedNats, opened_nats
from orchestrator.nats_servers.renewal import renewing
from orchestrator.nats_servers.server import STOP_SECONDS
from orchestrator.nodes.disconnections import Disconnections
from orchestrator.nodes.heartbeats import take_heartbeats
from orchestrator.s3.bucket import Bucket
from orchestrator.s3.locations import Locations, location_of
from orchestrator.state.filing.job_index import JobIndex
from orchestrator.state.model import Model
from orchestrator.storage import incarnation
from orchestrator.storage.lease import CALL_SECONDS
from orchestrator.storage.store import Store
from orchestrator.webhooks.secret import secret_of
from shared.data.loopback_hosts import is_loopback_host
from shared.errors import ConfigurationInvalid, PortTaken
from shared.jobs.states import ExecutionState
from shared.messaging.transport import Connection, connect
from shared.protocol import subjects
from shared.runtime import durable
from shared.runtime.aio import background
from shared.runtime.trace_export import open_tracing
from shared.settings.config import Config
from shared.settings.publisher import is_configured
from shared.settings.secret import Secret
from shared.settings.sign_in import Oauth2
from shared.settings.tls.declared import FilePath

_log = logging.getLogger(__name__)

SHUTDOWN_SECONDS = 2.0
JOB_INDEX = "jobs.sqlite"
DEEPEST_STACK = 4000
"""Jobs that earlier versions took in may be nested as deeply as Python allows by itself, and are told of below it."""


async def run(
    config: Config,
    *,
    ready: Callable[[], None] | None = None,
    restored: bool = False,
    own_node: Secret = Secret(),  # noqa: B008  # it is immutable
) -> None:
    """Serve until cancelled. `ready` is called when both APIs answer and the state is read.

    `restored` is whether the state has been restored from a backup since anything was decided last. `own_node` is what
    the compute node of the same process shows at its first join, where there is no join secret.

    Raises, before anything is started: AlreadyRunning, ConfigurationInvalid, PortTaken, ProgramMissing, SecretInvalid.
    """
    sys.setrecursionlimit(max(sys.getrecursionlimit(), DEEPEST_STACK))
    directory = config.data_dir / "orchestrator"
    await asyncio.to_thread(durable.make_folder, directory)
    async with AsyncExitStack() as stack:
        stack.enter_context(locked(directory / "lock", config.data_dir))
        listening = stack.enter_context(_listening(config.api.host, config.api.port))
        local = stack.enter_context(local_listener(config.data_dir))
        secrets, encryption = await asyncio.to_thread(_prepared, config, own_node)
        webhook_secret = await asyncio.to_thread(secret_of, config.orchestrator.webhooks)
        stack.enter_context(kept_addresses(config.orchestrator, config.data_dir))
        name = await asyncio.to_thread(kept_name, directory / "name")
        audit = await stack.enter_async_context(audit_of(config, name))
        await stack.enter_async_context(background(audit=audit.run()))
        index = await stack.enter_async_context(_opened_index(directory / JOB_INDEX, restored=restored))
        exported = open_tracing(config.tracing.endpoint, service="tarpon-orchestrator", name=name)
        tracing = await stack.enter_async_context(exported)
        locations = await stack.enter_async_context(opened_locations(config))
        nats = await stack.enter_async_context(opened_nats(config, secrets, name, encryption))
        budgets = Budgets(messages_per_second=float(config.orchestrator.node_manager.messages_per_second))
        connection = await stack.enter_async_context(_connected(nats, name, secrets))
        intake = await stack.enter_async_context(_intake(nats, name, secrets, budgets))
        assembly = assembled(
            config,
            name,
            audit=audit,
            index=index,
            connection=connection,
            intake=intake,
            locations=locations,
            tracing=tracing,
            budgets=budgets,
            secrets_key=secrets.task_secrets_key,
            session_key=secrets.session_key,
            result_signer=secrets.result_signer,
            certificates=encryption.served,
            webhook_secret=webhook_secret,
        )
        stack.callback(assembly.model.save)
        stack.enter_context(_garbage_left())
        await stack.enter_async_context(background(**_looking(assembly)))
        leader = Leader(assembly)
        heartbeats = take_heartbeats(intake, assembly.nodes, assembly.input_nodes.keepers, leader.on_unknown)
        await stack.enter_async_context(background(heartbeats=heartbeats))
        disconnections = await stack.enter_async_context(_letting_in(assembly, nats, secrets, budgets))
        integrations = Integrations(assembly)
        await stack.enter_async_context(background(integrations=integrations.run()))
        stack.push_async_callback(assembly.lease.resign)
        begun = await stack.enter_async_context(_incarnation(assembly.store, restored=restored))
        leading = assembly.lease.lead(leader.decide, may=lambda: assembly.store.may_decide and begun.is_set())
        await stack.enter_async_context(background(lease=leading))
        sign_in = await stack.enter_async_context(_signing_in(config.api.auth.oauth2))
        api = Api(
            assembly,
            sign_in=sign_in,
            disconnect=disconnections.end,
            authority=encryption.authorities,
            api_authority=encryption.api_authorities,
        )
        await stack.enter_async_context(_serving(api, listening, local, encryption.api_context))
        await stack.enter_async_context(
            renewing(config, encryption, nats.trust, nats.server, is_quiet=partial(_is_quiet, assembly.model))
        )
        await assembly.store.ready.wait()
        await begun.wait()
        await integrations.offered.wait()
        gc.freeze()  # what was stored before stays for long, and need not be searched for garbage again and again
        gc.enable()
        _say_ready(config, locations, encryption)
        assembly.secrets.warn_of_unreadable()
        if ready is not None:
            ready()
        await asyncio.Event().wait()


def _looking(assembly: Assembly) -> dict[str, Coroutine[Any, Any, None]]:
    """What keeps up with all that is stored, and with what it rests on."""
    return {
        "state": assembly.store.keep_model(),
        "streams": assembly.streams.run(),
        "orchestrators": assembly.orchestrators.run(),
        "last_hour": assembly.last_hour.run(),
    }


@asynccontextmanager
async def _opened_index(path: Path, *, restored: bool) -> AsyncIterator[JobIndex]:
    """Raises JobIndexNotWritable."""
    index = await asyncio.to_thread(JobIndex, path, again=not restored)
    try:
        yield index
    finally:
        index.close_in_order()


@contextmanager
def _garbage_left() -> Iterator[None]:
    """It is not looked for at first: all that is read then stays."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@asynccontextmanager
async def _signing_in(settings: Oauth2) -> AsyncIterator[SignIn | None]:
    if not settings.issuer:
        yield None
        return
    sign_in = SignIn(settings)
    async with sign_in.issuer.open(), background(issuer=sign_in.issuer.run()):
        yield sign_in


@asynccontextmanager
async def _letting_in(
    assembly: Assembly, nats: OpenedNats, secrets: Secrets, budgets: Budgets
) -> AsyncIterator[Disconnections]:
    """Who connects is let in or not, and who may not be here any more is cut off."""
    admitting, accounts = asyncio.Event(), KnownAccounts()
    connection, users = assembly.connection, assembly.model.users
    admission = _admission(
        connection,
        assembly.store,
        secrets,
        budgets=budgets,
        accounts=accounts,
        identities=Identities(users, assembly.config.api.auth),
        held_back=assembly.measures.held_back,
        audit=assembly.audit,
        ready=admitting,
    )
    async with (
        background(accounts=accounts.follow(connection)),
        admission,
        _in_system_account(nats, secrets, admitting) as system,
    ):
        disconnections = Disconnections(system, connection, budgets, accounts, users.ended)
        async with background(disconnections=disconnections.run()):
            yield disconnections


def _connected(nats: OpenedNats, name: str, secrets: Secrets) -> AbstractAsyncContextManager[Connection]:
    return connect(nats.servers, name=name, nkey_seed=secrets.orchestrator_seed.reveal(), trust=nats.trust)


def _intake(nats: OpenedNats, name: str, secrets: Secrets, budgets: Budgets) -> AbstractAsyncContextManager[Connection]:
    """A connection of its own for what nodes send: a server ends one over which more comes than can be read."""
    seed = secrets.orchestrator_seed.reveal()
    return connect(
        nats.servers, name=f"{name}-intake", nkey_seed=seed, trust=nats.trust, admits=budgets.admits, quiet=True
    )


def _say_ready(config: Config, locations: Locations, encryption: Encryption) -> None:
    scheme = "https" if encryption.api else "http"
    _log.info("Serving the API on %s://%s:%d.", scheme, config.api.host, config.api.port)
    for warning in encryption.warnings:
        _log.warning("%s", warning)
    if locations.current is None:
        _log.info("No bucket is configured: jobs that publish by s3managed are refused.")
    if config.api.auth.anonymous:
        _log.warning("Whoever reaches this address may do everything, without a key: API.Auth.Anonymous is set.")


def at_stop(config: Config) -> str:
    """What an orchestrator does that is told to stop, and how long that may take."""
    server = "" if config.orchestrator.nats.servers else ", and its NATS server ends"
    within = f"within {stop_seconds(config):.0f} s"
    return f"the orchestrator answers what it was asked, and another one may lead{server}, {within}"


def stop_seconds(config: Config) -> float:
    """How long an orchestrator may take to stop."""
    return SHUTDOWN_SECONDS + CALL_SECONDS + (0 if config.orchestrator.nats.servers else STOP_SECONDS)


def secret_sources(config: Config) -> SecretSources:
    """Where this orchestrator's secrets are."""
    nats, auth = config.orchestrator.nats, config.orchestrator.auth
    return SecretSources(
        directory=config.data_dir / "orchestrator" / "secrets",
        issuer_seed_file=_path(nats.issuer_seed_file),
        orchestrator_seed_file=_path(nats.nkey_file),
        integration_secret_file=_path(nats.integration_secret_file),
        join_secret_file=_path(auth.token_file),
        join_secret=auth.token,
        task_secrets_key_file=_path(config.orchestrator.task_secrets.key_file),
        authority_file=_path(config.orchestrator.tls.authority_file),
    )


def _secrets(config: Config, own_node: Secret) -> Secrets:
    sources = secret_sources(config)
    secrets = load_secrets(sources)
    if left := left_join_secret(sources):
        _log.warning(
            "Whoever has the join secret in %s can add nodes, as long as it is there. An earlier version has made it."
            " Nodes join with the tokens of `tarpon node token create` now, and those that have joined need nothing but"
            " their own keys: remove the file, and start the orchestrator again.",
            left,
        )
    return secrets if secrets.join_secret else replace(secrets, join_secret=own_node)


def _path(text: FilePath) -> Path | None:
    return Path(text) if text else None


def _check_anonymity(config: Config) -> None:
    if config.api.auth.anonymous and not is_loopback_host(config.api.host):
        raise ConfigurationInvalid(
            [f"API.Auth.Anonymous: everybody who reaches API.Host {config.api.host} would be let in without a key"],
            hint="Make a key with `tarpon user create`, or leave API.Host on loopback.",
        )


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    """The API's socket, bound before anything is started. Raises PortTaken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, port))
            listening.listen(1024)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise PortTaken("The API", host, port, "API.Port") from error
            raise ConfigurationInvalid([f"API.Host {host!r}, API.Port {port}: {error.strerror}."]) from error
        yield listening


@asynccontextmanager
async def opened_locations(config: Config) -> AsyncIterator[Locations]:
    """The buckets of results, whose keys are kept fresh meanwhile. Raises ConfigurationInvalid, AuthorityUnreadable."""
    if not is_configured(config):
        async with Locations(None) as locations:
            yield locations
        return
    settings = config.publishers.types.s3managed
    bucket = Bucket(
        location_of(settings),
        expiration_seconds=float(settings.presigned_url_expiration),
        probe_interval_seconds=float(settings.probe_interval),
        deletes=settings.retention > 0,
        ca_file=settings.ca_file,
    )
    async with bucket, background(bucket=bucket.run()), Locations(bucket) as locations:
        yield locations


@asynccontextmanager
async def _incarnation(store: Store, *, restored: bool) -> AsyncIterator[asyncio.Event]:
    """Give what is set when decisions may be taken: not before they are told apart from those before the backup."""
    begun = asyncio.Event()

    async def begin() -> None:
        if restored:
            await incarnation.begin(store)
        begun.set()

    async with background(incarnation=begin()):
        yield begun


@asynccontextmanager
async def _admission(
    connection: Connection,
    store: Store,
    secrets: Secrets,
    *,
    budgets: Budgets,
    accounts: KnownAccounts,
    identities: Identities,
    audit: Audit,
    held_back: HeldBack,
    ready: asyncio.Event,
) -> AsyncIterator[None]:
    """Admit nodes to NATS, once their bindings are known."""

    async def admit() -> None:
        await store.ready.wait()
        await serve_auth(
            connection,
            StoredNodeKeys(store),
            secrets=secrets,
            budgets=budgets,
            accounts=accounts,
            identities=identities,
            audit=audit,
            attempts=NatsAttempts(held_back),
            ready=ready,
        )

    async with background(admission=admit()):
        yield


@asynccontextmanager
async def _in_system_account(nats: OpenedNats, secrets: Secrets, admitting: asyncio.Event) -> AsyncIterator[Connection]:
    """A connection that is made once there is somebody to let it in; where servers have no such account it never is."""
    seed, inbox = secrets.system_seed.reveal(), subjects.SYSTEM_INBOX
    async with connect(
        nats.servers,
        name="orchestrator",
        nkey_seed=seed,
        inbox_prefix=inbox,
        trust=nats.trust,
        after=admitting,
        quiet=True,
    ) as connection:
        yield connection


@asynccontextmanager
async def _serving(
    api: Api, listening: socket.socket, local: socket.socket, tls: ssl.SSLContext | None
) -> AsyncIterator[None]:
    runner = web.AppRunner(api.application(), access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)
    await runner.setup()
    try:
        async with api.listener.serving(runner, listening, tls):
            await web.SockSite(runner, local).start()
            yield
    finally:
        await runner.cleanup()


def _prepared(config: Config, own_node: Secret) -> tuple[Secrets, Encryption]:
    _check_anonymity(config)
    secrets = _secrets(config, own_node)
    remember_earlier_version(config.data_dir)
    return secrets, prepare(config, secrets.authority, now=time.time())


def _is_quiet(model: Model) -> bool:
    """Whether no task is anywhere between its placement and its end."""
    return not any(model.executions.states[state] for state in ExecutionState if not state.is_terminal)
