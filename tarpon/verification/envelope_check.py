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

_NOT_KEPT = (
    "`tarpon node keys` shows what is kept, which are the last 32 lives of keys of a node. Where you have a list of"
    " before, look there whether the key was one of that node's."
)


def envelope_problems(
    envelope: bytes,
    params: ResultParams,
    job: str,
    keys: Sequence[NodeKeyView],
    *,
    forgotten: datetime | None = None,
) -> Iterator[VerificationProblem]:
    """What is wrong of the envelope beside this result of the job.

    `keys` are those that its node has had, with their lives; none where nothing is known of them. Lives that had ended
    by `forgotten` may be missing.
    """
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
    yield from _life_problems(statement, key, params.node_id, keys, forgotten)


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
    statement: Statement, key: str, node: str, keys: Sequence[NodeKeyView], forgotten: datetime | None
) -> Iterator[VerificationProblem]:
    if not keys:
        return
    try:
        at = datetime.fromisoformat(statement.predicate.run_details.metadata.finished_on)
        lives = [each for each in keys if each.key == key]
        is_in_one = any(_has(each, at) for each in lives)
        is_kept = not _was_before(at, lives, keys, forgotten)
    except (ValueError, TypeError):  # no time, or one without a zone
        yield _problem(ResultProblem.KEY_NOT_VALID, "It does not say when its task ended.")
        return
    when = f"By its own words it was made at {at.isoformat()}"
    if is_in_one:
        return
    if not is_kept:
        told = f"{when}, and which keys node {node} had then is not kept any more, so {key} may have been one of them."
        yield VerificationProblem(code=ResultProblem.KEY_NOT_KEPT.value, message=told, hint=_NOT_KEPT)
    elif not lives:
        yield _problem(ResultProblem.KEY_NOT_VALID, f"The key {key} is none of those of node {node}.")
    elif at < min(each.since or at for each in lives):
        yield _problem(ResultProblem.KEY_NOT_VALID, f"{when}, before its key was that node's.")
    else:
        yield _problem(ResultProblem.KEY_NOT_VALID, f"{when}, after its key had ceased to be that node's.")


def _has(life: NodeKeyView, at: datetime) -> bool:
    """Whether the key was the node's then, as far as clocks agree."""
    is_early = life.since is not None and at < life.since - CLOCKS
    is_late = life.until is not None and at > life.until + CLOCKS
    return not (is_early or is_late)


def _was_before(
    at: datetime, lives: Sequence[NodeKeyView], keys: Sequence[NodeKeyView], forgotten: datetime | None
) -> bool:
    """Whether this was before all that is kept: nobody knows what a key was then of which nothing else is kept."""
    if forgotten is not None and at <= forgotten + CLOCKS:
        return True
    known = [each.since for each in keys]
    return not lives and None not in known and at < min(filter(None, known)) - CLOCKS


def _problem(code: ResultProblem, message: str) -> VerificationProblem:
    return VerificationProblem(code=code.value, message=message)
