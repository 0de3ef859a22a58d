"""The check of NATS servers that an orchestrator is to use: what is missing or in the way, found by using them.

Whether the callout works is found by logging in as a program would. Where no orchestrator runs that could judge it, the
check answers in its place, for itself alone. What the servers are set up with they tell in the system account.
"""

import asyncio
import contextlib
import ssl
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import NamedTuple

import msgspec
import nats.errors
import nkeys

from orchestrator.admission import nats_jwt
from orchestrator.admission.auth import QUEUE, Admit, decide
from orchestrator.admission.callout import admission, parse_request
from orchestrator.admission.nats_accounts import EARLIER, Accounts, ask_accounts
from orchestrator.admission.secret_files import Secrets, integration_password
from orchestrator.nats_servers.servers import ServerFacts, ask_joints, ask_servers, problems_of, remarks_on
from orchestrator.storage.nats_fitness import CHECK_HINT, CONFIG_HINT, check_server
from shared.errors import MessagingUnavailable, MessagingUnfit
from shared.messaging.client import MendedClient
from shared.messaging.transport import Connection, connect
from shared.protocol import subjects
from shared.protocol.nats_address import ENCRYPTED, parse_nats_address
from shared.runtime.aio import background, raising_cancellation
from shared.runtime.network_problems import CLOSED

ME = "nats-check"
SOON_SECONDS, CONNECT_SECONDS = 2.0, 20.0
LOGIN_SECONDS = 5
ANSWER_SECONDS = 3.0
LOG_HINT = "Its log may tell more; `nats-server -c FILE -t` tells what is wrong in its configuration."

_HUNG_UP = CLOSED
_AWAY = (nats.errors.Error, OSError, TimeoutError, MessagingUnavailable)


class ServerFinding(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="pascal"):
    """One thing that was looked at. Where it is not `good`, `hint` tells what to change."""

    server: str
    good: bool
    message: str
    hint: str = ""


class _Place(NamedTuple):
    server: str
    secrets: Secrets
    trust: ssl.SSLContext | None = None

    def good(self, message: str) -> ServerFinding:
        return ServerFinding(server=self.server, good=True, message=message)

    def bad(self, message: str, hint: str) -> ServerFinding:
        return ServerFinding(server=self.server, good=False, message=message, hint=hint)


class StandIn:
    """Judges whoever logs in for the check, where nobody else does. `asked` is whether a server asked at all."""

    def __init__(self, secrets: Secrets, accounts: Accounts) -> None:
        self._secrets = secrets
        self._accounts = accounts
        self._signer = nkeys.from_seed(bytearray(secrets.issuer_seed.reveal(), "ascii"))
        self.asked = False

    async def run(self, connection: Connection, ready: asyncio.Event) -> None:
        async with connection.subscribe(subjects.AUTH_REQUESTS, queue=QUEUE) as requests:
            ready.set()
            async for received in requests:
                self.asked = True
                with contextlib.suppress(nats_jwt.BadSignature):
                    answer = self._judge(received.payload)
                    if answer:
                        await received.respond(answer)

    def _judge(self, payload: bytes) -> bytes:
        """Nothing for a node, whose id would have to be bound: it comes again, and an orchestrator judges it then."""
        request = parse_request(payload, issuer=str(self._signer.public_key, "ascii"))
        decision = decide(
            request,
            bindings=None,
            join_secret=self._secrets.join_secret,
            integration_secret=self._secrets.integration_secret,
            system_key=self._secrets.system_public_key,
            accounts=self._accounts,
        )
        if not isinstance(decision, Admit) or decision.claim is not None:
            return b""
        return admission(request, decision.user, self._signer, now=int(time.time()))

    def __repr__(self) -> str:
        return f"<StandIn, {'asked' if self.asked else 'not asked yet'}>"


async def check_nats(
    servers: Sequence[str], secrets: Secrets, trust: ssl.SSLContext | None = None
) -> list[ServerFinding]:
    """Everything that was found, of each server. `trust` is for addresses with tls://."""
    found: list[ServerFinding] = []
    for server in servers:
        is_encrypted = parse_nats_address(server).scheme == ENCRYPTED
        found += await _check(_Place(server, secrets, trust if is_encrypted else None))
    return found


async def _check(place: _Place) -> list[ServerFinding]:
    seed = place.secrets.orchestrator_seed.reveal()
    async with connect((place.server,), name=ME, nkey_seed=seed, trust=place.trust, quiet=True) as own:
        if not await _is_connected(own):
            why = own.problem.partition(f"{own.servers[0]} is ")[2] or "not reachable"
            return [
                place.bad(
                    f"It is {why}.", "Its log may tell more; `nats-server -c FILE -t` tells what is wrong in a file."
                )
            ]
        try:
            await raising_cancellation(check_server(own.client))
            accounts = await ask_accounts(own.client)
        except MessagingUnfit as error:
            return [place.bad(error.message, error.hint.removesuffix(CHECK_HINT))]
        except _AWAY as error:
            return [place.bad(f"It does not answer the orchestrator ({type(error).__name__}).", LOG_HINT)]
        found = [place.good("It knows the key of this orchestrator, is recent enough, and has JetStream.")]
        if accounts == EARLIER:
            found.append(place.good(f"Its accounts have the names of an earlier version: {', '.join(EARLIER)}."))
        async with AsyncExitStack() as stack:
            return [*found, *await _check_callout(place, own, accounts, stack)]


async def _is_connected(connection: Connection) -> bool:
    """Waits for longer only where it is not known yet why there is none: who hangs up tells it at another try."""
    for seconds in (SOON_SECONDS, CONNECT_SECONDS):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await connection.wait_connected()
                return True
        if connection.problem and not connection.problem.endswith(_HUNG_UP):
            break
    return False


async def _check_callout(
    place: _Place, own: Connection, accounts: Accounts, stack: AsyncExitStack
) -> list[ServerFinding]:
    """Whoever stands in stays until the stack is closed, since servers ask again when the system account is entered."""
    await stack.enter_async_context(background(echo=_echo(own)))
    stand_in, ready = StandIn(place.secrets, accounts), asyncio.Event()
    refused = await _log_in(place)
    if refused:
        await stack.enter_async_context(background(stand_in=stand_in.run(own, ready)))
        await ready.wait()
        refused = await _log_in(place)
    if not refused:
        good = place.good("It asks an orchestrator who may join, and what a program asks arrives there.")
        return [good, *await _check_system(place, accounts)]
    if stand_in.asked:
        what = f"It asks who may join, and does not follow the answer: {refused}"
        hint = f"It has another issuer, or no account {accounts.integrations}, in its configuration. {CONFIG_HINT}"
    else:
        what = f"It asks no orchestrator who may join: {refused}"
        hint = (
            "Its `authorization` block has no auth_callout of this orchestrator; of two such blocks the last one counts"
            f" alone. {CONFIG_HINT}"
        )
    return [place.bad(what, hint)]


async def _echo(own: Connection) -> None:
    async with own.subscribe(subjects.api_request(ME, "check")) as received:
        async for question in received:
            await question.respond(b"")


async def _log_in(place: _Place) -> str:
    """As a program would, and ask something; why that does not go, or nothing."""
    client = MendedClient()
    try:
        await client.connect(
            servers=[place.server],
            tls=place.trust,
            name=ME,
            user=ME,
            password=integration_password(place.secrets.integration_secret, ME).reveal(),
            inbox_prefix=f"_INBOX.{ME}",
            allow_reconnect=False,
            connect_timeout=LOGIN_SECONDS,
            error_cb=_ignore,
        )
        await raising_cancellation(client.request(subjects.api_request(ME, "check"), timeout=ANSWER_SECONDS))
    except nats.errors.NoRespondersError:
        return "what a program asks does not arrive at the orchestrator."
    except (nats.errors.Error, OSError, TimeoutError) as error:
        is_refusal = "authorization" in str(error).lower()
        return "a program is refused." if is_refusal else f"a program gets no answer ({type(error).__name__})."
    finally:
        with contextlib.suppress(nats.errors.Error, OSError):
            await client.close()
    return ""


async def _ignore(_: Exception) -> None:
    """It is raised as well."""


async def _check_system(place: _Place, accounts: Accounts) -> list[ServerFinding]:
    seed, inbox = place.secrets.system_seed.reveal(), subjects.SYSTEM_INBOX
    async with connect(
        (place.server,), name=ME, nkey_seed=seed, inbox_prefix=inbox, trust=place.trust, quiet=True
    ) as system:
        if not await _is_connected(system):
            what = f"The orchestrator is not let into the account {accounts.system}, so that it cannot end connections."
            return [place.bad(what, f"That has to be the server's system account. {CONFIG_HINT}")]
        try:
            servers = await ask_servers(system)
            names, lacking = await ask_joints(system, servers, accounts)
        except MessagingUnfit as error:
            return [
                place.bad(error.message, f"Name it to `tarpon agent nats-config` with --system-account. {CONFIG_HINT}")
            ]
        except (*_AWAY, msgspec.DecodeError) as error:
            return [place.bad(f"The servers do not tell what they are set up with ({type(error).__name__}).", LOG_HINT)]
    if not servers:
        return [
            place.good(
                "What its servers are set up with could not be asked: a running orchestrator is of an earlier version."
            )
        ]
    found = [place.good(_told(each)) for each in servers]
    found.append(
        place.good(
            f"Its accounts are {', '.join(names)}; where one of yours is missing, another `accounts` block came later."
        )
    )
    found += [place.bad(problem.message, problem.hint) for each in servers for problem in problems_of(each)]
    found += [place.bad(each, CONFIG_HINT) for each in lacking]
    found += [place.good(remark) for each in servers for remark in remarks_on(each)]
    return found


def _told(server: ServerFacts) -> str:
    since = server.config_load_time[:19].replace("T", " ")
    return f"Server {server.server_name[:80]}, version {server.version[:40]}, has its configuration of {since} UTC."
