"""The check of the record beside a result: what the orchestrator has signed of it itself."""

from collections.abc import Collection

import msgspec

from shared.errors import Damaged
from shared.protocol.rest import ResultParams
from shared.protocol.results.dsse import SignatureWrong, check_signature, decode_envelope
from shared.protocol.results.result_record import FORMAT, PAYLOAD_TYPE, SignedRecord, decode_format, decode_record

_EARLIER = "Where that is the key which the orchestrator had then, by another issuer.nkey, name it with --records-key."


def signer_of(envelope: bytes, params: ResultParams, job: str, keys: Collection[str]) -> str:
    """By which of these public keys the record of this result is signed; empty for one of a later version of Tarpon.

    Raises Damaged where it is no record, is signed by nobody of them, or tells of something else.
    """
    what = f"The record of execution {params.execution_id}"
    try:
        found = decode_envelope(envelope)
        signer = next((each.keyid for each in found.signatures if each.keyid in keys), "")
        if found.payload_type != PAYLOAD_TYPE or not signer:
            others = ", ".join(each.keyid[:60] for each in found.signatures[:3]) or "nobody"
            raise Damaged(f"{what} is signed by {others}, and not by the orchestrator as such a record.", hint=_EARLIER)
        check_signature(found, signer)
        if decode_format(found.payload).format != FORMAT:
            return ""
        differs = _what_differs(decode_record(found.payload), params, job)
    except SignatureWrong:
        raise Damaged(f"{what} was changed after it was signed.") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Damaged(f"{what} is none.") from None
    if differs:
        raise Damaged(f"{what} tells of something else: {differs} is not what the orchestrator has recorded.")
    return signer


def _what_differs(record: SignedRecord, params: ResultParams, job: str) -> str:
    """In words; empty where all of it is of this result."""
    compared = {
        "its job": (record.job_id, job),
        "its version of the job": (record.version, params.job_version),
        "its part of the job": (record.partition, params.partition_index),
        "its execution": (record.execution_id, params.execution_id),
        "its node": (record.node_id, params.node_id),
        "its place": (record.location.place, (params.source_spec.bucket, params.source_spec.key)),
        "its size": (record.result.size_bytes, params.size),
        "its SHA-256": (record.result.sha256, params.sha256),
        "its manifest": (record.result.manifest_sha256, params.manifest_sha256),
        "its content": (record.result.content_digest, params.content_digest),
    }
    return next((what for what, (told, known) in compared.items() if told != known), "")
