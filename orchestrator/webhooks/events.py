"""Events for webhooks: what is told of the end of a job, under an id that is always the same, and how it is signed.

The form is that of https://www.standardwebhooks.com/, so that receivers can use its libraries.
"""

import base64
import hashlib
import hmac
from collections.abc import Collection
from typing import Any, NamedTuple

import msgspec

from orchestrator.state.event_numbers import end_number
from orchestrator.state.job_entry import JobEntry
from orchestrator.storage.wall_clock import instant
from shared.ids import JobId
from shared.jobs.states import JobState

MAX_MESSAGE = 1000
TYPES = {
    JobState.COMPLETED: "job.completed",
    JobState.FAILED: "job.failed",
    JobState.STOPPED: "job.stopped",
}


class WebhookEvent(NamedTuple):
    """`number` is that of the job's end among all that was ever recorded."""

    number: int
    id: str
    body: bytes
    made: float
    """When the job ended, in seconds since 1970."""


class _Told(msgspec.Struct, frozen=True, kw_only=True):
    type: str
    timestamp: str
    data: dict[str, Any]


_encoder = msgspec.json.Encoder()


def event_of(entry: JobEntry, types: Collection[str], namespaces: Collection[str]) -> WebhookEvent | None:
    """Of a job that has ended, if its end is to be told. One that an early version of Tarpon ended has no number."""
    state, record = entry.progress.state, entry.job
    kind = TYPES.get(state, "")
    if kind not in types or not entry.ended_by or record.removal is not None:
        return None
    if namespaces and entry.namespace not in namespaces:
        return None
    at = instant(entry.modified)
    told = _Told(type=kind, timestamp=at.isoformat(), data=_data(entry, str(state)))
    return WebhookEvent(
        number=end_number(entry.ended_by),
        id=event_id(entry.id, record.version, kind),
        body=_encoder.encode(told),
        made=at.timestamp(),
    )


def event_id(job: JobId, version: int, kind: str) -> str:
    """The same whoever tells it, and however often: receivers know by it what they have heard before."""
    return f"{job}.{version}.{kind.removeprefix('job.')}"


def _data(entry: JobEntry, state: str) -> dict[str, Any]:
    record = entry.job
    return {
        "JobID": record.id,
        "JobVersion": record.version,
        "Name": record.name,
        "Namespace": entry.namespace,
        "State": state,
        "Message": entry.progress.message[:MAX_MESSAGE],
        "SubmitTime": instant(record.submit_time).isoformat(),
        "ExitCodes": {str(code): count for code, count in entry.exit_codes},
    }


def headers_of(secret: bytes, event: str, at: int, body: bytes) -> dict[str, str]:
    """What comes with an event: its id, when it is sent, in seconds since 1970, and the signature of both and the body.

    A receiver that refuses old times need not fear that somebody repeats what was sent.
    """
    signed = hmac.new(secret, f"{event}.{at}.".encode() + body, hashlib.sha256).digest()
    return {
        "webhook-id": event,
        "webhook-timestamp": str(at),
        "webhook-signature": f"v1,{base64.b64encode(signed).decode()}",
    }
