"""The checkup of a node: whether its servers let it in, and whether what is to run its tasks works here.

Nothing is changed, and no join token is used: a node that has never joined only looks whether the servers are there.
"""

import asyncio
import contextlib
import fcntl
import os
import ssl
import stat
import tempfile
import time
from collections.abc import Collection
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import msgspec

from compute.engines.docker.api import DockerApi, EngineAway, EngineRefusal
from compute.engines.docker.endpoint import EndpointRefused, find_socket
from compute.engines.outside.loading import looked_at
from compute.engines.process.bubblewrap import Bubblewrap
from compute.engines.wasm.engine import runtime_version
from compute.engines.wasm.trial import runtime_works
from compute.uplink.identity import SEED_FILE, Identity, load_identity
from compute.uplink.invitation import invitation
from compute.uplink.trust import trust_of
from compute.upload.put import upload_session
from shared.errors import MessagingUnavailable, TarponError
from shared.ids import NodeId
from shared.jobs.engine_params import DOCKER, PROCESS, WASM
from shared.messaging.client import NOT_OF_TLS
from shared.messaging.transport import Connection, connect
from shared.protocol import messages, subjects
from shared.protocol.messages import RequestRefused, StoreRequest, StoreTold
from shared.protocol.nats_address import ENCRYPTED, NatsAddress, parse_nats_address
from shared.runtime.checkup import Check, Finding, aside, note, ok, port_finding, problem, warning
from shared.runtime.network_problems import why_unreachable
from shared.runtime.tls.trust import trusting_store, trusting_system
from shared.settings.config import AUTO, Config

NATS, ENGINES, PORTS, KEY, STORE, CLOCK = "NATS", "engines", "ports", "node key", "bucket", "clock"
NATS_SECONDS = 30.0
SANDBOX_SECONDS = 40.0
ANSWER_SECONDS = 5.0
STORE_SECONDS = 10.0
MOST_SKEW_SECONDS = 60.0
_NO_WALLS = "Install bubblewrap here and set Engines.Types.Process.Sandbox=require, unless you trust every job."


def node_checks(config: Config) -> list[Check]:
    disabled = {name.lower() for name in config.engines.disabled}
    checks = [Check(KEY, partial(_key, config)), Check(NATS, partial(_nats, config), NATS_SECONDS)]
    if DOCKER not in disabled:
        checks.append(Check(ENGINES, partial(_docker, config)))
    if config.engines.types.process.enabled and PROCESS not in disabled:
        checks.append(Check(ENGINES, partial(_sandbox, config), SANDBOX_SECONDS))
    if WASM not in disabled and runtime_version():
        checks.append(Check(ENGINES, _wasm, SANDBOX_SECONDS))
    checks.append(Check(ENGINES, partial(_outside, disabled), SANDBOX_SECONDS))
    if config.compute.metrics.address and not is_running(config):
        checks.append(Check(PORTS, partial(_ports, config)))
    return checks


def servers_of(config: Config) -> tuple[str, ...]:
    """Where its settings or its join token say that NATS is; none where they cannot be read, which a check tells."""
    try:
        return invitation(config).servers
    except TarponError:
        return ()


def is_running(config: Config) -> bool:
    """Whether a node runs with this DataDir."""
    with contextlib.suppress(OSError), (config.data_dir / "compute" / "lock").open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


async def _key(config: Config) -> list[Finding]:
    return [await aside(partial(_key_finding, config.data_dir / "compute" / SEED_FILE))]


def _key_finding(path: Path) -> Finding:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        return note(KEY, "This node has never joined: it has no key yet.", "It is made at the first start.")
    if mode & 0o077:
        told = f"The node's key in {path} is open to other users (mode {mode:04o})."
        return problem(KEY, "KeyOpen", told, f"chmod 600 {path}; if others may have read it, `tarpon node rekey`.")
    return ok(KEY, "The node's key is there, and only its user can read it.")


async def _nats(config: Config) -> list[Finding]:
    """Raises ConfigurationInvalid, AuthorityUnreadable."""
    invited = await aside(partial(invitation, config))
    trust = await aside(partial(trust_of, config.compute.tls, invited.authority))
    found = [await _reached(server, trust) for server in invited.servers]
    if any(not each.code for each in found):
        identity = await aside(partial(_identity, config))
        if identity is None:
            return [*found, note(NATS, "Whether this node is let in is not known before it has joined.")]
        found += await _let_in(config, invited.servers, identity, trust)
    return found


def _identity(config: Config) -> Identity | None:
    """Nothing is made for a node that has never joined. Raises Damaged."""
    folder = config.data_dir / "compute"
    return load_identity(folder, config.name_provider) if (folder / SEED_FILE).exists() else None


class _Info(msgspec.Struct):
    version: str = ""
    tls_required: bool = False


async def _reached(server: str, trust: ssl.SSLContext | None) -> Finding:
    address = parse_nats_address(server)
    hint = "Check Compute.Orchestrators, the firewall between, and whether the orchestrator runs."
    try:
        line = await _greeting(address, trust)
    except OSError as error:
        return problem(NATS, "NatsNotReached", f"{server} cannot be reached: {why_unreachable(error)}.", hint)
    if not line.startswith(b"INFO "):
        return problem(NATS, "NatsNotReached", f"What listens at {server} is no NATS server.", hint)
    with contextlib.suppress(msgspec.DecodeError):
        info = msgspec.json.decode(line.removeprefix(b"INFO "), type=_Info)
        if info.tls_required and trust is None:
            told = f"{server} asks for TLS, and this node knows no authority to trust."
            return problem(NATS, "NatsWantsTls", told, "Start the node with a new line of `tarpon node token create`.")
        return ok(NATS, f"{server} answers, a nats-server {info.version[:40]}.")
    return problem(NATS, "NatsNotReached", f"What listens at {server} is no NATS server.", hint)


async def _greeting(address: NatsAddress, trust: ssl.SSLContext | None) -> bytes:
    """What the server says first: within TLS where that is promised, unless it is one that greets in the clear."""
    if trust is not None or address.scheme == ENCRYPTED:
        try:
            return await _first_line(address, trust or trusting_system())
        except ssl.SSLError as error:
            if error.reason not in NOT_OF_TLS:
                raise
    return await _first_line(address, None)


async def _first_line(address: NatsAddress, context: ssl.SSLContext | None) -> bytes:
    reader, writer = await asyncio.open_connection(address.host, address.port, ssl=context)
    try:
        return await reader.readline()
    finally:
        writer.close()


async def _let_in(
    config: Config, servers: tuple[str, ...], identity: Identity, trust: ssl.SSLContext | None
) -> list[Finding]:
    async with connect(
        servers,
        name=identity.node_id,
        nkey_seed=identity.nkey_seed,
        inbox_prefix=subjects.node_inbox(identity.node_id),
        trust=trust,
        quiet=True,
    ) as connection:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(NATS_SECONDS / 3):
                await connection.wait_connected()
                return await _standing(config, connection, identity.node_id)
        why = connection.problem or "there is no answer."
    hint = "`tarpon node describe` says whether it was rejected; `tarpon node rekey` lets it in with another key."
    return [problem(NATS, "NodeNotLetIn", f"The node {identity.node_id} is not let in: {why}", hint)]


async def _standing(config: Config, connection: Connection, node: NodeId) -> list[Finding]:
    """One that an operator has rejected is let in for a moment, to be told so whatever it asks.

    Orchestrators of an earlier version refuse the question, and so tell as much of the node and nothing of the store.
    """
    question = messages.encode(StoreRequest())
    try:
        answer = await connection.request(subjects.node_requests(node), question, timeout=ANSWER_SECONDS)
    except MessagingUnavailable:
        told, hint = (
            "This node is let in, and no orchestrator answers it.",
            "Look whether one leads: `tarpon agent node`.",
        )
        return [problem(NATS, "NoLeader", told, hint)]
    told_of = messages.decode(messages.node_request_answers, answer)
    if isinstance(told_of, RequestRefused) and told_of.code == "NodeRejected":
        return [
            problem(NATS, "NodeRejected", f"The {told_of.message}", "Ask who runs the orchestrator for the reason.")
        ]
    known = ok(NATS, f"An orchestrator answers, and knows this node, {node}, by its key.")
    if not isinstance(told_of, StoreTold):
        return [known]
    return [known, *await _store(config, told_of.url)]


async def _store(config: Config, url: str) -> list[Finding]:
    """Whether the place to which results go answers here, by whatever it says to who shows no key."""
    if not url:
        return [note(STORE, "The orchestrator has no bucket: nothing is published.")]
    settings = config.publishers.types.s3managed
    trust = await aside(partial(trusting_store, settings.ca_file))
    hint = "Results are sent there from this node: open the firewall, or have PublicEndpoint name what nodes reach."
    try:
        async with (
            asyncio.timeout(STORE_SECONDS),
            upload_session(trust) as http,
            http.get(url, allow_redirects=False) as answer,
        ):
            date, now = answer.headers.get("Date", ""), time.time()
    except (aiohttp.ClientError, OSError) as error:
        told = f"The store of results at {url} cannot be reached: {why_unreachable(error)}."
        return [problem(STORE, "EndpointUnreachable", told, hint)]
    return [ok(STORE, f"The store of results at {url} answers."), *_skew(date, now)]


def _skew(date: str, now: float) -> list[Finding]:
    try:
        ahead = parsedate_to_datetime(date).timestamp() - int(now)
    except (ValueError, TypeError):
        return []  # it does not tell
    if abs(ahead) <= MOST_SKEW_SECONDS:
        return [ok(CLOCK, "This machine and S3 show the same time, to the minute.")]
    told = f"S3's clock is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} this machine's."
    return [problem(CLOCK, "ClockOff", told, "Set the clock of this machine, best by NTP.")]


async def _docker(config: Config) -> list[Finding]:
    settings = config.engines.types.docker
    try:
        socket = await aside(partial(find_socket, settings, os.environ))
    except EndpointRefused as error:
        return [problem(ENGINES, "EngineUnavailable", str(error), "")]
    if not socket:
        return [note(ENGINES, "No container engine is to be used.")]
    api = DockerApi(Path(socket))
    try:
        facts = await api.facts()
    except (EngineAway, EngineRefusal) as error:
        told = f"The container engine at {socket} does not answer: {error}"
        hint = "Start it, and give this user the right to its socket (its group)."
        is_asked_for = settings.socket != AUTO
        return [(problem if is_asked_for else warning)(ENGINES, "EngineUnavailable", told, hint)]
    finally:
        await api.close()
    return [ok(ENGINES, f"The container engine {facts.name} {facts.version} answers.")]


async def _sandbox(config: Config) -> list[Finding]:
    """Raises SandboxUnavailable."""
    settings = config.engines.types.process
    if not settings.is_sandboxed:
        told = "Nothing keeps tasks of the engine process in their place: they have all rights of the node's user."
        return [warning(ENGINES, "NodeNotIsolated", told, _NO_WALLS)]
    await aside(partial(_try_sandbox, config))
    return [ok(ENGINES, "Bubblewrap works here, and keeps tasks of the engine process in their place.")]


def _try_sandbox(config: Config) -> None:
    path, settings = os.environ.get("PATH", os.defpath), config.engines.types.process
    with tempfile.TemporaryDirectory(prefix="tarpon-doctor-") as folder:
        Bubblewrap.open(Path(folder), hidden=config.data_dir, shown=settings.read_only_paths, path=path)


async def _wasm() -> list[Finding]:
    told = f"wasmtime {runtime_version()}"
    if await aside(runtime_works):
        return [ok(ENGINES, f"{told} works here, for tasks of the engine wasm.")]
    hint = "Reinstall it (tarpon-jobs[wasm]), or set Engines.Disabled=wasm, so that no module is placed here."
    return [problem(ENGINES, "EngineUnavailable", f"{told} cannot compile a module on this machine.", hint)]


async def _outside(disabled: Collection[str]) -> list[Finding]:
    """None is opened, because a node that runs may use what belongs to it."""
    return [
        problem(ENGINES, error.code, error.message, error.hint)
        if error
        else ok(ENGINES, f"The engine {name} from outside is installed.")
        for name, error in (await looked_at(disabled)).items()
    ]


async def _ports(config: Config) -> list[Finding]:
    address = urlsplit(f"//{config.compute.metrics.address}")
    host, port = address.hostname or "", address.port or 0
    return [port_finding(PORTS, "The node's /metrics", host, port, "Compute.Metrics.Address")]
