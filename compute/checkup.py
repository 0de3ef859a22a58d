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
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from compute.engines.docker.api import DockerApi, EngineAway, EngineRefusal
from compute.engines.docker.endpoint import EndpointRefused, find_socket
from compute.engines.process.bubblewrap import Bubblewrap
from compute.uplink.identity import SEED_FILE, Identity, load_identity
from compute.uplink.invitation import invitation
from compute.uplink.trust import trust_of
from shared.errors import MessagingUnavailable, TarponError
from shared.ids import NodeId
from shared.jobs.engine_params import DOCKER, PROCESS
from shared.messaging.transport import Connection, connect
from shared.protocol import messages, subjects
from shared.protocol.messages import RequestRefused
from shared.protocol.nats_address import parse_nats_address
from shared.runtime.checkup import Check, Finding, aside, note, ok, port_finding, problem, warning
from shared.runtime.network_problems import why_unreachable
from shared.settings.config import AUTO, Config

NATS, ENGINES, PORTS, KEY = "NATS", "engines", "ports", "node key"
NATS_SECONDS = 30.0
SANDBOX_SECONDS = 40.0
ANSWER_SECONDS = 5.0
QUESTION = b'{"type":"Standing"}'
"""A request that no orchestrator knows, and that each refuses: nothing is changed by it."""
_NO_WALLS = "Install bubblewrap here and set Engines.Types.Process.Sandbox=require, unless you trust every job."


def node_checks(config: Config) -> list[Check]:
    disabled = {name.lower() for name in config.engines.disabled}
    checks = [Check(KEY, partial(_key, config)), Check(NATS, partial(_nats, config), NATS_SECONDS)]
    if DOCKER not in disabled:
        checks.append(Check(ENGINES, partial(_docker, config)))
    if config.engines.types.process.enabled and PROCESS not in disabled:
        checks.append(Check(ENGINES, partial(_sandbox, config), SANDBOX_SECONDS))
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
        found.append(
            note(NATS, "Whether this node is let in is not known before it has joined.")
            if identity is None
            else await _let_in(invited.servers, identity, trust)
        )
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
        reader, writer = await asyncio.open_connection(address.host, address.port)
        try:
            line = await reader.readline()
        finally:
            writer.close()
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


async def _let_in(servers: tuple[str, ...], identity: Identity, trust: ssl.SSLContext | None) -> Finding:
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
                return await _standing(connection, identity.node_id)
        why = connection.problem or "there is no answer."
    hint = "`tarpon node describe` says whether it was rejected; `tarpon node rekey` lets it in with another key."
    return problem(NATS, "NodeNotLetIn", f"The node {identity.node_id} is not let in: {why}", hint)


async def _standing(connection: Connection, node: NodeId) -> Finding:
    """One that an operator has rejected is let in for a moment, to be told so whatever it asks."""
    try:
        answer = await connection.request(subjects.node_requests(node), QUESTION, timeout=ANSWER_SECONDS)
    except MessagingUnavailable:
        told, hint = (
            "This node is let in, and no orchestrator answers it.",
            "Look whether one leads: `tarpon agent node`.",
        )
        return problem(NATS, "NoLeader", told, hint)
    refused = messages.decode(messages.node_request_answers, answer)
    if isinstance(refused, RequestRefused) and refused.code == "NodeRejected":
        return problem(NATS, "NodeRejected", f"The {refused.message}", "Ask who runs the orchestrator for the reason.")
    return ok(NATS, f"An orchestrator answers, and knows this node, {node}, by its key.")


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


async def _ports(config: Config) -> list[Finding]:
    address = urlsplit(f"//{config.compute.metrics.address}")
    host, port = address.hostname or "", address.port or 0
    return [port_finding(PORTS, "The node's /metrics", host, port, "Compute.Metrics.Address")]
