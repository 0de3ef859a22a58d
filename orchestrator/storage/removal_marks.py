"""Marks of removals: each stands in the stream in place of a record, and goes by itself.

Who follows the stream sees the mark. Who was away for longer than marks are sure to be there reads everything again and
forgets what is not stored any more; so marks need not be kept, and do not pile up.

One mark alone is not a removal that lasts. nats-server notes on disk that a message was deleted, but not that another
one has taken its place. When the mark has gone and the server rebuilds its index, as after a kill, it finds what was
there before (nats-server issue 8505). So each mark is written twice, first as one that stays: that is then found.
Where its block on disk has gone, because nothing else was left in it, an older value is found nevertheless. So what is
written once and decides whose a name or a node's id is, is purged before: of a purge there is a note on disk. So are a
secret, of which nothing is to come back, a join token, of which an older value would let nodes in again, and sent data,
whose files are gone.
Executions that go together with their job get one mark: nobody takes one for anything whose job's record is not there.
"""

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import msgspec
import nats.errors
from nats.aio.client import Client

from shared.errors import MessagingUnavailable, RevisionConflict
from shared.messaging.acknowledgements import refusal
from shared.messaging.transport import Connection
from shared.runtime.aio import raising_cancellation

_log = logging.getLogger(__name__)

MARK_SECONDS = 900.0

_OPERATION, _REASON = "KV-Operation", "Nats-Marker-Reason"
_REMOVALS = frozenset({"DEL", "PURGE"})
_LAST = "Tarpon-Last-Mark"
_PURGED = ("name.", "binding.", "spec.", "secret.", "token.", "data.")


FIRST_MARK = {_OPERATION: "DEL"}
"""The headers of a mark that stays: those of a deletion in a key-value bucket (ADR-8 of NATS)."""


def last_mark(seconds: float) -> dict[str, str]:
    """The headers of a mark that goes by itself (ADR-43 of NATS), and says that nothing is left to be done."""
    return FIRST_MARK | {"Nats-TTL": f"{max(1, round(seconds))}s", _LAST: "1"}


def away_seconds(seconds: float) -> float:
    """How old what was heard last may be, for the stream to be followed from there on: marks are sure to be there."""
    return seconds / 3


def is_removal(headers: Mapping[str, str] | None) -> bool:
    """Whether a message with these headers says that what was on its subject is gone, whoever removed it."""
    return headers is not None and (headers.get(_OPERATION) in _REMOVALS or _REASON in headers)


def is_last(headers: Mapping[str, str]) -> bool:
    """Whether a mark goes by itself, and lets nothing return: not one of an earlier version, nor of other tools."""
    return _LAST in headers or _REASON in headers


def is_purged(key: str) -> bool:
    return key.startswith(_PURGED)


class _Refusal(msgspec.Struct):
    err_code: int = 0
    description: str = ""


class _Purged(msgspec.Struct):
    error: _Refusal | None = None


_answers = msgspec.json.Decoder(_Purged)


async def purge(connection: Connection, stream: str, subject: str, *, up_to: int, timeout: float) -> None:
    """Take what is on the subject out of the stream, unless it is newer than the message with the number `up_to`.

    Raises MessagingUnavailable: it may be gone or not, and may be purged again.
    """
    request = json.dumps({"filter": subject, "seq": up_to + 1}).encode()
    answer = await connection.request(f"$JS.API.STREAM.PURGE.{stream}", request, timeout=timeout)
    try:
        refused = _answers.decode(answer).error
    except msgspec.DecodeError:
        refused = _Refusal(description="what answered is not a stream")
    if refused is not None:
        raise refusal(f"purge a message on {subject}", refused.err_code, refused.description)


class Removing:
    """Removes what is on a subject of a stream, and tells so for `seconds`."""

    def __init__(self, connection: Connection, stream: str, *, seconds: float, timeout: float) -> None:
        self._connection = connection
        self._stream = stream
        self._last_mark = last_mark(seconds)
        self._timeout = timeout

    async def remove(self, subject: str, revision: int, *, purged: bool, on_gone: Callable[[int], None]) -> None:
        """Remove what has this revision, a mark too. `purged` is whether nothing older may return.

        Where it is not known what came of it, it may be done again. Raises MessagingUnavailable, RevisionConflict.
        """
        if purged:
            await purge(self._connection, self._stream, subject, up_to=revision, timeout=self._timeout)
        first = await self._mark(subject, 0 if purged else revision, FIRST_MARK)
        on_gone(first)
        try:
            await self._mark(subject, first, self._last_mark)
        except (MessagingUnavailable, RevisionConflict) as error:  # it is gone; the leader sees a mark that stays
            _log.debug("The second mark of %s was not written: %r", subject, error)

    async def remove_lightly(self, subject: str, revision: int) -> int:
        """As `remove`, by one mark alone, what nobody takes for anything should it return; the number of the mark."""
        return await self._mark(subject, revision, self._last_mark)

    async def _mark(self, subject: str, after: int, headers: Mapping[str, str]) -> int:
        return await self._connection.publish_durably(subject, b"", timeout=self._timeout, after=after, headers=headers)


@contextmanager
def told_of(key: str) -> Iterator[None]:
    """Say which record could not be removed."""
    try:
        yield
    except MessagingUnavailable as error:
        raise type(error)(f"The record {key} could not be removed: {error.message}", hint=error.hint) from error


async def let_marks_expire(client: Client, stream: str, *, timeout: float) -> None:
    """See to it that the stream takes messages that go by themselves, also one that an earlier version has made.

    All else of its configuration, which may be its operator's, stays as it is.
    """
    try:
        answer = json.loads(
            (await raising_cancellation(client.request(f"$JS.API.STREAM.INFO.{stream}", timeout=timeout))).data
        )
        config = answer["config"]
        if config.get("allow_msg_ttl"):
            return
        changed = json.dumps(config | {"allow_msg_ttl": True}).encode()
        subject = f"$JS.API.STREAM.UPDATE.{stream}"
        answer = json.loads((await raising_cancellation(client.request(subject, changed, timeout=timeout))).data)
    except (ValueError, KeyError) as error:
        raise nats.errors.Error(f"the configuration of {stream} cannot be read: {error!r}") from None
    if "error" in answer:
        told = "Ended jobs cannot be removed: %s takes no messages that expire, for which NATS 2.11 is needed: %s"
        _log.error(told, stream, answer["error"].get("description", ""))
