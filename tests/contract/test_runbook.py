"""The runbook has a step for each alert, each code that an operator meets, and each row of what dies."""

import re

import pytest
import yaml

from orchestrator.nodes.warnings import NodeWarning
from orchestrator.s3.problems import ProblemCode
from shared.jobs.states import FailureReason
from tests.contract.test_error_codes import ERRORS
from tests.documents import ROOT, text_of

RUNBOOK, CODES, FAILURES, USERS = (
    text_of(f"docs/{name}.md") for name in ("runbook", "runbook-codes", "runbook-failures", "troubleshooting")
)
ALERTS = [
    rule
    for group in yaml.safe_load((ROOT / "deploy" / "prometheus" / "alerts.yaml").read_text())["groups"]
    for rule in group["rules"]
]
FOR_WHO_ASKS = frozenset(
    re.findall(
        r"\w+",
        """
CSRFTokenWrong
BadSignature CallFailed CallLost OtherPython ValueInvalid ValueNotData
CannotBeSent CannotExtract CapabilityMissing CapabilityUnknown DataContentUnknown DataDigestInvalid
DataFileTooLarge DataNameInvalid DataNotFound DataNotWhole DataTooManyFiles DevstackFailed DownloadFailed DrainNotOver
FileChanged FileUnreadable Forbidden IdempotencyTokenUsed IllegalTransition InputDiffers InputEmpty InputGone
InputKeyUnusable InputResultGone InputResultMissing InputsClash InputsUnknown InvalidDuration InvalidId InvalidQuantity
IsSchedule
JobAmbiguous JobEnded JobFailed JobNeeded JobStopped JoinTokenNotFound KeyExpired KeyNotSent KeyRevoked KeyWrong
LinkExpired LinkInvalid LinkUsed
LayoutInvalid ListingDamaged LogsCutOff ManifestDamaged ManifestInvalid ManifestMissing
ResultIsArchive ResultIsPlain MultipleNodesFound NamespaceForbidden NotInOrder
NamespaceInvalid NeedNeverMet NoSpaceLeft NodeConnected NodeHoldsExecutions NodeIsOrchestrator NodeNotFound NodeShutOut
NotForAllNamespaces NotASchedule NothingToSend OutputNotKept PartsMakeNoSense PastedTextInvalid PastedTextMistyped
PastedTextOfOtherKind PastedTextTruncated PathNotFound PatternInvalid PatternTooSlow PayloadTooLarge PersonRefused
RefusedByRule RemoteError S3ServerFailed ScheduleStopped ScheduleTooFrequent
SecretEmpty SecretNotFound SecretNotText SecretTooLarge SessionEnded SessionExpired SessionInvalid SessionOfOtherHost
SignInDenied
SignInFailed SignInNotOffered SignInTimedOut SignInsOpenToOthers SignInsUnreadable TargetInTheWay TaskSecretsTooLarge
TokenAlgorithmRefused TokenAudienceWrong TokenEncrypted TokenIncomplete TokenIssuerWrong TokenKeyUnknown
TokenMalformed TokenNotSent TokenNotYetValid TokenPartyWrong TokenRefused TokenSignatureWrong TokenTooLarge
TokenTooOld TooManyObjects TooManySchedules TooManySessionsEnded
PageSignInDeclined PageSignInExpired PageSignInFailed PageSignInNotOffered TooManySignIns
TooManyFilesToRead TooManySecrets TooManyUploads TooManyWeights TooMuchData TreeTooLarge Unauthorized
UnknownMessage UploadFailed UserAddressInvalid UserExists UserNameInvalid UserNotFound VariableRefused WeightInvalid
""",
    )
)
"""What whoever typed a command or wrote a job mends by the hint of the error itself; nobody is called for it."""
FAMILIES = frozenset(
    {
        "Conflict",
        "Damaged",
        "InvalidInput",
        "Missing",
        "NotFound",
        "Refused",
        "TarponError",
        "TooMuchAtOnce",
        "Unavailable",
    }
)
"""Codes that an error has only as one of another kind."""


def named(text: str) -> set[str]:
    """The codes in its code spans."""
    return set(re.findall(r"`\[?([A-Z]\w+)\]?`", text))


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_each_alert_has_a_step(alert: dict[str, object]) -> None:
    steps = re.findall(r"(?m)^### (\w+)\n\n\*\*(\w+)\.\*\* (.+)", RUNBOOK)
    told = {name: (severity.lower(), text) for name, severity, text in steps}
    labels = alert["labels"]
    assert isinstance(labels, dict)
    assert told[str(alert["alert"])][0] == labels["severity"]
    assert told[str(alert["alert"])][1]


def test_no_step_is_of_an_alert_that_is_gone() -> None:
    assert set(re.findall(r"(?m)^### (Tarpon\w+)$", RUNBOOK)) == {alert["alert"] for alert in ALERTS}


def test_each_warning_about_a_node_has_a_row() -> None:
    rows = set(re.findall(r"(?m)^\| `(\w+)` \|", RUNBOOK.partition("## Warnings about nodes")[2]))
    assert rows == {each.value for each in NodeWarning}


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.code)
def test_each_error_has_a_row_or_is_mended_by_who_asked(kind: type) -> None:
    code = kind.__name__
    is_explained = code in named(CODES) | named(USERS)
    assert is_explained or code in FOR_WHO_ASKS | FAMILIES


def test_what_is_mended_by_who_asked_is_an_error_and_not_explained_twice() -> None:
    assert {kind.code for kind in ERRORS} >= FOR_WHO_ASKS | FAMILIES
    assert not FOR_WHO_ASKS & named(CODES)


@pytest.mark.parametrize("code", [*FailureReason, *ProblemCode])
def test_each_reason_of_an_execution_and_each_problem_of_the_bucket_has_a_row(code: str) -> None:
    assert code in named(CODES) | named(USERS)


def test_each_code_of_the_doctor_has_a_row() -> None:
    sources = [ROOT / "compute/checkup.py", ROOT / "orchestrator/checkup.py", ROOT / "shared/runtime/checkup.py"]
    sources += (ROOT / "tarpon/cli/admin").glob("*.py")
    text = "\n".join(path.read_text() for path in sources)
    codes = set(re.findall(r'(?:problem|warning)\)?\(\s*\w+(?:\.\w+)?,\s*"([A-Z]\w+)"', text))
    codes |= set(re.findall(r'problem\("\w+", "([A-Z]\w+)"', text))
    assert len(codes) > 12
    assert codes <= named(CODES) | named(USERS) | named(RUNBOOK)


def test_each_row_of_what_dies_has_a_step() -> None:
    dies = text_of("ARCHITECTURE.md").partition("## What dies")[2].partition("\n## ")[0]
    assert first_cells(FAILURES) == first_cells(dies)
    assert all(len(line.split(" | ")) == 3 for line in FAILURES.splitlines() if line.startswith("| "))


def first_cells(text: str) -> list[str]:
    return [line[2:].split(" | ")[0] for line in text.splitlines() if line.startswith("| ")][1:]
