"""Programs act on an error's code and on whether it may be retried, so both stay; people act on its hint."""

import importlib
import inspect
import pkgutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.api.errors import status_of
from shared.errors import RemoteError, RevisionConflict, TarponError, code_of

PACKAGES = ("shared", "orchestrator", "compute", "tarpon")

# Whether an error may be retried, by its code. A code is never renamed: add a line, and tell it in the changelog.
RETRYABLE = {
    "AlreadyFetching": False,
    "AlreadyRunning": False,
    "ArchiveDamaged": False,
    "AuditUnwritable": True,
    "AuthorityInvalid": False,
    "AuthorityUnreadable": False,
    "BackupDamaged": False,
    "BackupNewer": False,
    "BadSignature": False,
    "BucketMissing": False,
    "CSRFTokenWrong": False,
    "CallFailed": False,
    "CallLost": False,
    "CannotBeSent": False,
    "CannotExtract": False,
    "CapabilityMissing": False,
    "CapabilityUnknown": False,
    "CertificateInvalid": False,
    "ClientCertificateInvalid": False,
    "ClientCertificateRefused": False,
    "ConfigurationInvalid": False,
    "Conflict": False,
    "CredentialsExpiring": True,
    "CredentialsMissing": True,
    "Damaged": False,
    "DataBucketMissing": False,
    "DataContentUnknown": False,
    "DataDigestInvalid": False,
    "DataFileTooLarge": False,
    "DataNameInvalid": False,
    "DataNotFound": False,
    "DataNotWhole": False,
    "DataQuotaExceeded": False,
    "DataTooManyFiles": False,
    "DeletedDataStays": False,
    "DeletionRefused": False,
    "DevstackFailed": False,
    "DigestMismatch": False,
    "DownloadFailed": True,
    "DrainNotOver": False,
    "EngineMisbehaved": False,
    "EngineNameTaken": False,
    "EngineNotLoaded": False,
    "EngineProtocolUnknown": False,
    "ExtraMissing": False,
    "FileChanged": True,
    "FileExists": False,
    "FileNotInResult": False,
    "FileUnreadable": False,
    "Forbidden": False,
    "GrantRefused": False,
    "IdempotencyTokenUsed": False,
    "IllegalTransition": False,
    "ImportNameTaken": False,
    "IndexDamaged": False,
    "InputDiffers": False,
    "InputEmpty": False,
    "InputForbidden": False,
    "InputGone": False,
    "InputKeyUnusable": False,
    "InputListForbidden": False,
    "InputListingNotKept": False,
    "InputNotAllowed": False,
    "InputNotFound": False,
    "InputResultGone": False,
    "InputResultMissing": False,
    "InputTooLarge": False,
    "InputsAskedTooOften": True,
    "InputsClash": False,
    "InputsNotReady": True,
    "InputsUnknown": False,
    "InvalidDocument": False,
    "InvalidDuration": False,
    "InvalidId": False,
    "InvalidInput": False,
    "InvalidJob": False,
    "InvalidQuantity": False,
    "IsSchedule": False,
    "IssuerAway": True,
    "IssuerUnfit": True,
    "IssuerUnreachable": True,
    "JobAmbiguous": False,
    "JobBeingDeleted": False,
    "JobDeleted": False,
    "JobEnded": False,
    "JobFailed": False,
    "JobIndexDamaged": True,
    "JobIndexNotWritable": True,
    "JobNeeded": False,
    "JobNotEnded": False,
    "JobNotFound": False,
    "JobStillRuns": False,
    "JobStopped": False,
    "JobUnchanged": False,
    "JoinRefused": False,
    "JoinTokenExpired": False,
    "JoinTokenInvalid": False,
    "JoinTokenNotFound": False,
    "JoinTokenOfOtherNode": False,
    "JoinTokenRevoked": False,
    "JoinTokenUnknown": False,
    "JoinTokenUsedUp": False,
    "KeyExpired": False,
    "KeyMissing": False,
    "KeyNotKnownThere": False,
    "KeyNotSent": False,
    "KeyRevoked": False,
    "KeyShutOut": False,
    "KeyWrong": False,
    "LayoutInvalid": False,
    "LinkExpired": False,
    "LinkInvalid": False,
    "LinkUsed": False,
    "ListForbidden": False,
    "ListingDamaged": False,
    "LogsCutOff": True,
    "ManifestDamaged": False,
    "ManifestInvalid": False,
    "ManifestMissing": False,
    "MessagingFull": True,
    "MessagingUnavailable": True,
    "MessagingUnfit": True,
    "Missing": False,
    "MultipleNodesFound": False,
    "NamespaceForbidden": False,
    "NamespaceInvalid": False,
    "NeedNeverMet": False,
    "NoResults": False,
    "NoRuleMatches": False,
    "NoSpaceForResult": False,
    "NoSpaceLeft": False,
    "NodeConnected": False,
    "NodeHoldsExecutions": False,
    "NodeIsOrchestrator": False,
    "NodeKeyUnknown": True,
    "NodeNameTaken": False,
    "NodeShutOut": False,
    "NodeNotFound": False,
    "NotAFile": False,
    "NotASchedule": False,
    "NotAnOrchestrator": False,
    "NotForAllNamespaces": False,
    "NotFound": False,
    "NotInOrder": False,
    "NotReady": True,
    "NothingToSend": False,
    "ObjectLocked": False,
    "OneSideEncrypts": False,
    "OrchestratorNotTrusted": False,
    "OrchestratorRuns": False,
    "OrchestratorUnreachable": True,
    "OtherPython": False,
    "OutputNotKept": False,
    "PageSignInDeclined": False,
    "PageSignInExpired": False,
    "PageSignInFailed": False,
    "PageSignInNotOffered": False,
    "PartsMakeNoSense": False,
    "PastedTextInvalid": False,
    "PastedTextMistyped": False,
    "PastedTextOfOtherKind": False,
    "PastedTextTruncated": False,
    "PathNotFound": False,
    "PathUnusable": False,
    "PatternInvalid": False,
    "PatternTooSlow": False,
    "PayloadTooLarge": False,
    "PeerRefused": False,
    "PersonRefused": False,
    "PortTaken": False,
    "ProgramMissing": False,
    "PublisherNotConfigured": False,
    "PublisherNotReady": True,
    "RecordsNotTaken": True,
    "Refused": False,
    "RefusedByRule": False,
    "RemoteError": False,
    "ResultIsArchive": False,
    "ResultIsPlain": False,
    "ResultsInTheWay": False,
    "ResultsIncomplete": False,
    "ResultsNotDeleted": True,
    "ResultsNotMerged": False,
    "ResultsNotMixed": False,
    "ResultsNotWhole": False,
    "RevisionConflict": True,
    "S3ServerFailed": True,
    "SandboxFailed": False,
    "SandboxUnavailable": False,
    "ScheduleStopped": False,
    "ScheduleTooFrequent": False,
    "SecretEmpty": False,
    "SecretInvalid": False,
    "SecretNotFound": False,
    "SecretNotText": False,
    "SecretTooLarge": False,
    "SecretUnknown": False,
    "SecretUnreadable": False,
    "SecretsDiffer": False,
    "SecretsNotOpened": False,
    "ServerNotReady": True,
    "ServerStuck": True,
    "SessionEnded": False,
    "SessionExpired": False,
    "SessionInvalid": False,
    "SessionOfOtherHost": False,
    "SignInDenied": False,
    "SignInFailed": False,
    "SignInNotOffered": False,
    "SignInOver": False,
    "SignInTimedOut": False,
    "SignInsOpenToOthers": False,
    "SignInsUnreadable": False,
    "SignatureMissing": False,
    "SigningKeyUnfit": False,
    "StateAbsent": False,
    "StateNewer": True,
    "StateNotEmpty": False,
    "StateUnfinished": True,
    "StorageUnavailable": True,
    "TargetInTheWay": False,
    "TarponError": False,
    "TaskSecretsTooLarge": False,
    "TokenAlgorithmRefused": False,
    "TokenAudienceWrong": False,
    "TokenEncrypted": False,
    "TokenExpired": False,
    "TokenIncomplete": False,
    "TokenIssuerWrong": False,
    "TokenKeyUnknown": False,
    "TokenMalformed": False,
    "TokenNotSent": False,
    "TokenNotYetValid": False,
    "TokenPartyWrong": False,
    "TokenRefused": False,
    "TokenSignatureWrong": False,
    "TokenTooLarge": False,
    "TokenTooOld": False,
    "TooManyAttempts": True,
    "TooManyConnections": True,
    "TooManyJoinTokens": False,
    "TooManyFilesToRead": False,
    "TooManyObjects": False,
    "TooManyOpenUploads": True,
    "TooManyRequests": True,
    "TooManySchedules": False,
    "TooManySecrets": False,
    "TooManySessionsEnded": True,
    "TooManySignIns": True,
    "TooManyStreams": True,
    "TooManyUploads": True,
    "TooManyWeights": False,
    "TooMuchAtOnce": True,
    "TooMuchChosen": False,
    "TooMuchData": False,
    "TreeTooLarge": False,
    "Unauthorized": False,
    "Unavailable": True,
    "UnknownMessage": False,
    "UnsafeArchive": False,
    "UploadFailed": True,
    "UserAddressInvalid": False,
    "UserExists": False,
    "UserNameInvalid": False,
    "UserNotFound": False,
    "ValueInvalid": False,
    "ValueNotData": False,
    "VariableRefused": False,
    "WebhookSecretInvalid": False,
    "WeightInvalid": False,
}

MESSAGE_COMES_FROM_WHO_RAISES = {
    "TarponError": "nothing raises it",
    "InvalidInput": "the message says what is wrong with what was given, which is what to change",
    "NotFound": "a hint is given where there is another place to look",
    "Conflict": "a hint is given where the user can end the conflict",
    "Refused": "a node or a stranger is told no more than that",
    "Unavailable": "the message says what is away; whoever needs it tries again",
    "Missing": "its kinds tell how to install what is missing",
    "Damaged": "bytes cannot be repaired; the message says what is wrong with them",
}
"""Families whose members take message and hint from the place that raises them, and why a hint may be absent there."""


def modules() -> Iterator[str]:
    for package in PACKAGES:
        (folder,) = importlib.import_module(package).__path__
        for found in pkgutil.walk_packages([folder], f"{package}."):
            if not found.name.endswith(".__main__"):
                yield found.name


def below(kind: type[TarponError]) -> Iterator[type[TarponError]]:
    for each in kind.__subclasses__():
        if each.__module__.partition(".")[0] in PACKAGES:
            yield each
            yield from below(each)


def errors() -> list[type[TarponError]]:
    for module in modules():
        importlib.import_module(module)
    return sorted({TarponError, *below(TarponError)}, key=lambda kind: kind.__name__)


def writer_of(kind: type[TarponError]) -> type:
    """The class whose constructor writes the message."""
    return next(each for each in kind.__mro__ if "__init__" in vars(each))


def sample(kind: type[TarponError]) -> TarponError:
    values: dict[Any, Any] = {str: "x", int: 1, float: 1.0, Path: Path("x")}
    parameters = inspect.signature(kind).parameters.values()
    needed = [each for each in parameters if each.default is inspect.Parameter.empty]
    return kind(**{each.name: values.get(each.annotation, ["x"]) for each in needed})


ERRORS = errors()


def test_every_code_and_whether_it_may_be_retried_is_as_it_always_was() -> None:
    assert {kind.code: kind.retryable for kind in ERRORS} == RETRYABLE


def test_no_two_errors_share_a_code() -> None:
    assert [code for code, times in Counter(kind.code for kind in ERRORS).items() if times > 1] == []


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.code)
def test_an_error_says_what_to_do_or_there_is_a_reason_not_to(kind: type[TarponError]) -> None:
    if writer_of(kind) is TarponError:
        families = [each.__name__ for each in kind.__mro__[:-1] if each.__name__ in MESSAGE_COMES_FROM_WHO_RAISES]
        assert families, "name its family, or write its message and hint in its constructor"
    elif "hint" not in inspect.signature(kind).parameters:
        assert sample(kind).hint


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.code)
def test_an_error_has_a_message_for_a_person_and_names_no_argument_without_end(kind: type[TarponError]) -> None:
    error = sample(kind)
    assert str(error) == error.message
    assert error.details == {}
    assert not error.message.endswith((" ", "\n", ".."))


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.code)
def test_an_error_of_a_family_that_may_be_retried_says_so_or_denies_it_itself(kind: type[TarponError]) -> None:
    inherited = any(base.retryable for base in kind.__bases__ if issubclass(base, TarponError))
    assert kind.retryable == inherited or "retryable" in vars(kind)


def test_an_error_of_a_service_shows_the_code_that_it_has_there() -> None:
    assert code_of(RemoteError("JobNotFound", "There is no job.")) == "JobNotFound"
    assert code_of(TarponError("x")) == "TarponError"


def test_a_conflict_of_writes_that_reaches_who_asked_is_worth_another_try() -> None:
    """The write that it met may have been the first try of the very same request."""
    assert status_of(RevisionConflict("job.j-1")) == 503
