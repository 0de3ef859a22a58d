"""Provenance, when results are reported: whether a node has signed what is known of its result, with its own key.

A result without one that counts is a result all the same; it is recorded as having none.
"""

import hashlib
import logging

import msgspec

from orchestrator.rules.records import ExecutionRecord, RecordedProvenance, VerifiedResult, about_execution
from orchestrator.state.model import Model
from shared.jobs.spec import Job
from shared.protocol.results.dsse import SignatureWrong, check_signature, decode_envelope
from shared.protocol.results.provenance import (
    MAX_ENVELOPE_BYTES,
    PAYLOAD_TYPE,
    Claims,
    decode_statement,
    specification_digest,
    what_differs,
)

_log = logging.getLogger(__name__)


def recorded(model: Model, record: ExecutionRecord, result: VerifiedResult, told: str) -> RecordedProvenance | None:
    """What is recorded of this envelope, which came with the report; None where there is none that counts."""
    envelope = told.encode()
    if not envelope:
        return None
    key = _key_of(model, record)
    why = _why_not(model, record, result, envelope, key)
    if why:
        told = "The provenance of execution %s does not count: %s"
        _log.warning(told, record.id, why, extra=about_execution(record))
        return None
    return RecordedProvenance(
        size_bytes=len(envelope),
        sha256=hashlib.sha256(envelope).hexdigest(),
        key=key,
        specification=specification_digest(model.jobs[record.job_id].specs[record.job_version]),
    )


def _key_of(model: Model, record: ExecutionRecord) -> str:
    """That of the node whose report it is; empty of one that was rejected, or deleted."""
    binding = model.bindings.get(record.node_id)
    return "" if binding is None or binding.rejected else binding.public_key


def _why_not(model: Model, record: ExecutionRecord, result: VerifiedResult, envelope: bytes, key: str) -> str:
    if not key:
        return "its node has no key that counts."
    entry = model.jobs.get(record.job_id)
    if entry is None or record.job_version not in entry.specs:
        return "its job was removed while S3 was asked for its result."
    if len(envelope) > MAX_ENVELOPE_BYTES:
        return "it is too long."
    try:
        found = decode_envelope(envelope)
        if found.payload_type != PAYLOAD_TYPE:
            return "it is of another type."
        check_signature(found, key)
        differs = what_differs(
            decode_statement(found.payload), claims_of(record, result, entry.specs[record.job_version])
        )
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return "it makes no sense."
    except SignatureWrong as error:
        return str(error)
    return f"{differs} differ from what is known here." if differs else ""


def claims_of(record: ExecutionRecord, result: VerifiedResult, job: Job) -> Claims:
    """What is known of this result; `job` is of the version that it is of."""
    return Claims(
        node=record.node_id,
        job=record.job_id,
        version=record.job_version,
        partition=record.partition,
        execution=record.id,
        specification=specification_digest(job),
        result=result.sha256,
        manifest=result.manifest_sha256,
        content=result.content_digest,
    )
