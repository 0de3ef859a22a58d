"""Ids of jobs, executions and nodes, and which spellings are safe.

Every id becomes a token of a NATS subject, a token of a key-value key and a part of an S3 key, so it is validated
once, at the border, to an alphabet in which it can add no token, no wildcard and no path part.
"""

import hashlib
import os
import re
import uuid
from typing import NewType

from shared.errors import InvalidId

JobId = NewType("JobId", str)
ExecutionId = NewType("ExecutionId", str)
NodeId = NewType("NodeId", str)

MAX_ID_LENGTH = 64
_SAFE = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
LEAST_BEGINNING = 4
"""How many characters of an id name what it belongs to, if no other begins so."""
_DIGITS = re.compile(r"[0-9a-f]")
_GENERATED = "00000000-0000-0000-0000-000000000000"
"""What follows the letter and dash of a generated id, with each digit as 0."""
_TARPON = uuid.UUID("6b1a3f0e-5c1d-5d7e-9a55-746172706f6e").bytes


def is_safe_id(text: str) -> bool:
    return _SAFE.match(text) is not None


def is_like_id(name: str) -> bool:
    """Whether this could be the id of a job, a beginning of one that names it, or the whole id of something else.

    So could what comes before a slash, because JOB/PATH names a file of a result.
    """
    text = name.partition("/")[0]
    kind = text[:2]
    if kind not in {"j-", "e-", "n-"}:
        return False
    rest = _DIGITS.sub("0", text[2:])
    if kind == "j-":
        return len(text) >= LEAST_BEGINNING and _GENERATED.startswith(rest)
    return rest == _GENERATED


def _checked(kind: str, text: str) -> str:
    if not is_safe_id(text):
        raise InvalidId(kind, text)
    return text


def job_id(text: str) -> JobId:
    """Raise InvalidId unless `text` is safe in subjects and keys."""
    return JobId(_checked("job", text))


def execution_id(text: str) -> ExecutionId:
    """Raise InvalidId unless `text` is safe in subjects and keys."""
    return ExecutionId(_checked("execution", text))


def node_id(text: str) -> NodeId:
    """Raise InvalidId unless `text` is safe in subjects and keys."""
    return NodeId(_checked("node", text))


def new_job_id(idempotency_token: str | None = None, namespace: str = "") -> JobId:
    """A fresh id, or the one id that belongs to this token, so that a retried submit names the same job."""
    if idempotency_token is None:
        return JobId(f"j-{_uuid(os.urandom(16), version=4)}")
    decided_by = f"{namespace}\n{idempotency_token}"
    return JobId(f"j-{_named(decided_by)}")


def new_run_id(schedule: JobId, due: str) -> JobId:
    """The one id of the run of a schedule that is due then, so that it is begun only once, whoever decides it.

    No idempotency token has it: what decides about theirs has a line break.
    """
    return JobId(f"j-{_named(f'run of {schedule} {due}'.replace(chr(10), ' '))}")


def _named(name: str) -> str:
    """The UUID of this name (version 5 of RFC 9562)."""
    digest = hashlib.sha1(_TARPON + name.encode(), usedforsecurity=False).digest()
    return _uuid(digest[:16], version=5)


def _uuid(random: bytes, *, version: int) -> str:
    """As uuid.UUID writes these 16 bytes, at a third of its cost: each job has two."""
    octets = bytearray(random)
    octets[6] = octets[6] & 0x0F | version << 4
    octets[8] = octets[8] & 0x3F | 0x80
    digits = octets.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def execution_key(job: JobId, version: int, partition: int, attempt: int, incarnation: str = "") -> str:
    """The decision "this attempt at this partition" as a key, so that it can be taken only once.

    `incarnation` is that of the state, where it was ever restored from a backup.
    """
    key = f"{job}.{version}.{partition}.{attempt}"
    return f"{key}.{incarnation}" if incarnation else key


def new_execution_id(key: str) -> ExecutionId:
    """The id of the execution that `execution_key` decides: the same decision always gives the same id."""
    return ExecutionId(f"e-{_named(key)}")


def short(identifier: str) -> str:
    """The prefix and the first eight hexadecimal digits of a generated id, as people read it."""
    return identifier[:10] if re.match(r"[jen]-[0-9a-f]{8}-", identifier) else identifier
