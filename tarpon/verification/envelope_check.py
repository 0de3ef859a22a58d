"""The check of an envelope: who has signed it, when, and whether it is of the result beside which it lies.

It is held to what the orchestrator recorded of the result, and of the keys of its node.
"""

import hashlib
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

import msgspec

from shared.protocol.rest import ResultParams
from shared.protocol.rest_nodes import NodeKeyView
from shared.protocol.results.dsse import Envelope, SignatureWrong, check_signature, decode_envelope
from shared.protocol.results.provenance import (
    MAX_ENVELOPE_BYTES,
    PAYLOAD_TYPE,
    Claims,
    Statement,
    decode_statement,
    what_differs,
)
from tarpon.verification.views import ResultProblem, VerificationProblem

CLOCKS = timedelta(minutes=5)
"""By how much the clocks of a node and an orchestrator may differ."""


def envelope_problems(
    envelope: bytes, params: ResultParams, job: str, keys: Sequence[NodeKeyView]
) -> Iterator[VerificationProblem]:
    """What is wrong of the envelope beside this result of the job. `keys` are its node's, none of a deleted one."""
    what = f"The provenance of execution {params.execution_id}"
    if hashlib.sha256(envelope).hexdigest() != params.provenance_sha256:
        yield _problem(ResultProblem.PROVENANCE_REPLACED, f"{what} is not the one that was recorded.")
    try:
        found, statement = _read(envelope)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError):
        yield _problem(ResultProblem.PROVENANCE_MALFORMED, f"{what} is no signed statement about a result.")
        return
    key = params.provenance_key
    signers = [each.keyid for each in found.signatures]
    if signers != [key]:
        others = ", ".join(each[:60] for each in signers[:3]) or "nobody"
        yield _problem(
            ResultProblem.KEY_OF_ANOTHER, f"{what} is signed by {others}, and not by its node's key {key} alone."
        )
    else:
        try:
            check_signature(found, key)
        except SignatureWrong:
            yield _problem(ResultProblem.SIGNATURE_WRONG, f"{what} was changed after it was signed.")
    if differs := what_differs(statement, _claims(params, job)):
        told = f"{what} is of something else: {differs} is not what was recorded of this result."
        yield _problem(ResultProblem.STATEMENT_OF_ANOTHER, told)
    yield from _life_problems(statement, key, params.node_id, keys)


def _read(envelope: bytes) -> tuple[Envelope, Statement]:
    """Raises ValueError and what decoders raise."""
    if len(envelope) > MAX_ENVELOPE_BYTES:
        raise ValueError("too long")
    found = decode_envelope(envelope)
    if found.payload_type != PAYLOAD_TYPE:
        raise ValueError("of another type")
    return found, decode_statement(found.payload)


def _claims(params: ResultParams, job: str) -> Claims:
    return Claims(
        node=params.node_id,
        job=job,
        version=params.job_version,
        partition=params.partition_index,
        execution=params.execution_id,
        specification=params.spec_digest,
        result=params.sha256,
        manifest=params.manifest_sha256,
        content=params.content_digest,
    )


def _life_problems(
    statement: Statement, key: str, node: str, keys: Sequence[NodeKeyView]
) -> Iterator[VerificationProblem]:
    if not keys:
        return
    life = next((each for each in keys if each.key == key), None)
    if life is None:
        yield _problem(ResultProblem.KEY_NOT_VALID, f"The key {key} is none of those of node {node}.")
        return
    try:
        at = datetime.fromisoformat(statement.predicate.run_details.metadata.finished_on)
        is_early = life.since is not None and at < life.since - CLOCKS
        is_late = life.until is not None and at > life.until + CLOCKS
    except (ValueError, TypeError):  # no time, or one without a zone
        yield _problem(ResultProblem.KEY_NOT_VALID, "It does not say when its task ended.")
        return
    if is_early or is_late:
        which = "before its key was that node's" if is_early else "after its key had ceased to be that node's"
        yield _problem(ResultProblem.KEY_NOT_VALID, f"By its own words it was made at {at.isoformat()}, {which}.")


def _problem(code: ResultProblem, message: str) -> VerificationProblem:
    return VerificationProblem(code=code.value, message=message)
