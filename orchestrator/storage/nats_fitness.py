"""Fitness of a NATS server: whether it has what an orchestrator needs, in words that say what to change."""

import re

import msgspec
import nats.js.errors
from nats.aio.client import Client

from shared.errors import MessagingUnavailable, MessagingUnfit
from shared.protocol import subjects
from shared.runtime.aio import raising_cancellation

OLDEST_VERSION = (2, 11, 2)
"""Messages expire one by one since 2.11; its first two releases fail at streams that 2.10 has made."""
OLDEST_TEXT = ".".join(str(number) for number in OLDEST_VERSION)

NO_ACCOUNTS = "$G"
"""Where a server puts everybody whose configuration has no accounts."""
ASK_SECONDS = 5.0

CONFIG_HINT = (
    "Put what `tarpon agent nats-config` prints into its configuration, and start it again: a reload is not enough."
)
CHECK_HINT = " `tarpon agent nats-check` tells what else is missing."
_NOT_FOR_ACCOUNT, _NOT_AT_ALL = 10039, 10076
"""JetStream's error codes."""


class _Server(msgspec.Struct):
    ver: str = ""
    jetstream: bool = False


class _User(msgspec.Struct):
    account: str = ""


class Seat(msgspec.Struct):
    """Where a connection is: what the server says of itself, and of whose connection it is."""

    server: _Server = msgspec.field(default_factory=_Server)
    data: _User = msgspec.field(default_factory=_User)


_seats = msgspec.json.Decoder(Seat)


async def ask_seat(client: Client) -> Seat:
    """Raises what nats-py raises, and MessagingUnavailable."""
    answer = await raising_cancellation(client.request(subjects.WHO_AM_I, timeout=ASK_SECONDS))
    try:
        return _seats.decode(answer.data)
    except msgspec.DecodeError:
        raise MessagingUnavailable("What the NATS server says of this connection is not understood.") from None


def is_old(version: str) -> bool:
    """Whether a version is too old; what has none counts as new, as a server built by hand may."""
    found = re.match(r"v?(\d+)\.(\d+)\.(\d+)", version)
    return found is not None and tuple(int(number) for number in found.groups()) < OLDEST_VERSION


def check_version(version: str) -> None:
    if is_old(version):
        raise MessagingUnfit(
            f"The NATS server is version {version[:40]}, and Tarpon needs {OLDEST_TEXT} or later.",
            hint="Install a later nats-server, and start it again; of several one after the other.",
        )


async def check_server(client: Client) -> None:
    """Raises MessagingUnfit, and what nats-py raises."""
    seat = await ask_seat(client)
    check_version(seat.server.ver)
    if seat.data.account == NO_ACCOUNTS:
        raise MessagingUnfit(
            "The NATS server has no accounts of Tarpon, so that nothing would keep nodes and stored jobs apart.",
            hint=CONFIG_HINT + CHECK_HINT,
        )
    await _check_jetstream(client, seat)


async def _check_jetstream(client: Client, seat: Seat) -> None:
    try:
        await raising_cancellation(client.jetstream().account_info())
    except nats.js.errors.APIError as error:
        if error.err_code == _NOT_FOR_ACCOUNT:
            raise MessagingUnfit(
                f"JetStream is not on in the account {seat.data.account[:80]} of the NATS server.",
                hint=CONFIG_HINT + CHECK_HINT,
            ) from error
        if error.err_code == _NOT_AT_ALL or not seat.server.jetstream:
            raise MessagingUnfit(
                "The NATS server has no JetStream, which keeps the state.",
                hint='Add `jetstream { store_dir: "/var/lib/nats" }` to its configuration, and start it again.',
            ) from error
        raise MessagingUnavailable("JetStream does not answer yet; a cluster needs most of its servers.") from error
