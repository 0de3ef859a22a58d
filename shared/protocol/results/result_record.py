"""The record beside a result, as its readers need it: what the orchestrator has signed of the result.

It is JSON in a DSSE envelope. What else is in it is for `tarpon admin rebuild`, by which results are found where the
orchestrator's state is lost (orchestrator/rules/result_record.py).
"""

import msgspec

PAYLOAD_TYPE = "application/vnd.tarpon.result+json"
FORMAT = 1
MAX_RECORD_BYTES = 64 << 10


class RecordedPlace(msgspec.Struct, frozen=True, kw_only=True):
    bucket: str
    key: str

    @property
    def place(self) -> tuple[str, str]:
        return self.bucket, self.key


class RecordedFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Digests are SHA-256 in hex; those that a node of an earlier version did not tell are empty."""

    size_bytes: int
    sha256: str
    content_digest: str = ""
    manifest_sha256: str = ""


class SignedRecord(msgspec.Struct, frozen=True, kw_only=True):
    job_id: str
    version: int
    execution_id: str
    partition: int
    node_id: str
    location: RecordedPlace
    result: RecordedFacts


class RecordFormat(msgspec.Struct, frozen=True, kw_only=True):
    """Of a record of whatever version."""

    format: int


decode_format = msgspec.json.Decoder(RecordFormat).decode
decode_record = msgspec.json.Decoder(SignedRecord).decode
"""Both raise msgspec.DecodeError, UnicodeDecodeError, RecursionError."""
