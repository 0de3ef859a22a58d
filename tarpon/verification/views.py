"""What came of a verification, as programs get it."""

import enum

import msgspec

from shared.protocol.rest import ResultParams


class ResultProblem(enum.StrEnum):
    """What may be wrong of a result. These names stay as they are."""

    PROVENANCE_MISSING = "ProvenanceMissing"
    OBJECT_UNREADABLE = "ObjectUnreadable"
    PROVENANCE_REPLACED = "ProvenanceReplaced"
    PROVENANCE_MALFORMED = "ProvenanceMalformed"
    KEY_OF_ANOTHER = "KeyOfAnother"
    SIGNATURE_WRONG = "SignatureWrong"
    STATEMENT_OF_ANOTHER = "StatementOfAnother"
    KEY_NOT_VALID = "KeyNotValid"
    KEY_NOT_KEPT = "KeyNotKept"
    RECORD_WRONG = "RecordWrong"
    RESULT_REPLACED = "ResultReplaced"
    MANIFEST_REPLACED = "ManifestReplaced"
    INDEX_REPLACED = "IndexReplaced"
    CONTENT_DIFFERS = "ContentDiffers"
    FOLDER_DIFFERS = "FolderDiffers"


class VerificationProblem(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """`code` is a ResultProblem, `message` a sentence; `hint` is empty, or says what can be done."""

    code: str
    message: str
    hint: str = ""


class ResultVerification(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """One result, which its node `node_id` has signed with `key`. Without problems nothing is wrong of it."""

    execution_id: str = msgspec.field(name="ExecutionID")
    partition_index: int
    job_version: int
    node_id: str = msgspec.field(name="NodeID", default="")
    key: str = ""
    records_key: str = ""
    """By which the orchestrator has signed the record beside it, which says the same; empty where there is none."""
    problems: tuple[VerificationProblem, ...] = ()

    @classmethod
    def of(
        cls, params: ResultParams, problems: tuple[VerificationProblem, ...], records_key: str
    ) -> "ResultVerification":
        return cls(
            execution_id=params.execution_id,
            partition_index=params.partition_index,
            job_version=params.job_version,
            node_id=params.node_id,
            key=params.provenance_key,
            records_key=records_key,
            problems=problems,
        )


class ResultsVerification(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    verified: bool
    """Whether there is no problem with any of them."""
    results: tuple[ResultVerification, ...]
