"""Lines of the audit log: numbered, and each with a digest of itself and of all before it.

A line is a JSON object: `Seq`, `Time`, `Orchestrator`, what the event tells, and last `Digest`. That is BLAKE2b, of 16
bytes, over the digest of the line before and this line without its own. So a line that is taken out, put in, moved or
changed shows in what follows it. Whoever can write the file can compute it too: it is no signature.
"""

import hashlib
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec

from orchestrator.audit.events import AuditEvent

MOST_BYTES = 64 << 10
"""Of one line; events are bounded so that none has more."""
_DIGEST_BYTES = 16
_DIGEST_BEGINS = b',"Digest":"'
_TAIL = len(_DIGEST_BEGINS) + 2 * _DIGEST_BYTES + len(b'"}')
_encode = msgspec.json.Encoder().encode


class Position(NamedTuple):
    """After which line the log goes on."""

    seq: int = 0
    digest: str = ""


class AuditLine(AuditEvent, frozen=True, kw_only=True, rename="pascal", omit_defaults=True):
    """As it is read back."""

    seq: int
    time: datetime
    orchestrator: str = ""
    digest: str = ""


_decode = msgspec.json.Decoder(AuditLine).decode


class Chain:
    """Numbers and links lines. `orchestrator` is its name."""

    def __init__(self, orchestrator: str, position: Position = Position()) -> None:  # noqa: B008  # it is immutable
        self._seq = position.seq
        self._digest = position.digest.encode()
        self._orchestrator = _encode(orchestrator)

    @property
    def position(self) -> Position:
        return Position(self._seq, self._digest.decode())

    def line(self, time: bytes, event: AuditEvent) -> bytes:
        """`time` is as `written_time` gives it."""
        self._seq += 1
        head = b'{"Seq":%d,"Time":"%b","Orchestrator":%b,' % (self._seq, time, self._orchestrator)
        body = head + _encode(event)[1:-1]
        self._digest = _digest(self._digest, body)
        return b'%b,"Digest":"%b"}\n' % (body, self._digest)

    def __repr__(self) -> str:
        return f"<Chain at line {self._seq}>"


def written_time(now: datetime | None = None) -> bytes:
    """A moment as lines have it, in UTC."""
    text = (now or datetime.now(UTC)).isoformat(timespec="microseconds")
    return f"{text[:-6]}Z".encode()  # the zone is always +00:00


def read_line(text: bytes) -> AuditLine | None:
    """None for what is no line of an audit log."""
    try:
        return _decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def follows(before: str, text: bytes) -> bool:
    """Whether the line, without its end, has the digest that it has to have after one with the digest `before`."""
    body, tail = text[:-_TAIL], text[-_TAIL:]
    return tail == b'%b%b"}' % (_DIGEST_BEGINS, _digest(before.encode(), body))


def _digest(before: bytes, body: bytes) -> bytes:
    return hashlib.blake2b(before + body, digest_size=_DIGEST_BYTES).hexdigest().encode()
