"""Errors: what can go wrong, in words a user can act on.

    TarponError
    |- InvalidInput             the request itself is wrong; repeating it will not help
    |  |- InvalidId, InvalidDuration, InvalidQuantity, InvalidDocument, InvalidJob, PayloadTooLarge ...
    |  '- ConfigurationInvalid  the process does not start (exit code 2)
    |- NotFound                 what was asked for does not exist
    |- Conflict                 the present state forbids it
    |- Refused                  the caller may not do this
    |- TooMuchAtOnce            the caller does too much at a time, and has to wait (retryable)
    |- Unavailable              something that is needed is away; it may come back (retryable)
    |- Missing                  a program or a package has to be installed first
    |- Damaged                  bytes are not what was promised
    '- RemoteError              an error that a service told us, with its code, message and hint

Each class has a stable `code` (its name), a message for a person, a `hint` that says what to do, and `retryable`,
decided here and never by looking at text. An execution's failure is data, not an exception: see shared/jobs/states.py.
"""

from collections.abc import Iterable, Sequence
from typing import ClassVar

RETRY_AFTER = "RetryAfter"
"""The detail of an error that says after how many seconds to ask again."""


class TarponError(Exception):
    """The root of everything that Tarpon raises on purpose."""

    code: ClassVar[str] = "TarponError"
    retryable: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        cls.code = cls.__name__

    def __init__(self, message: str, *, hint: str = "", details: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = details or {}


class InvalidInput(TarponError):
    """The request itself is wrong."""


class ConfigurationInvalid(InvalidInput):
    """One or more settings are wrong; every problem is in the one message."""

    def __init__(self, problems: Iterable[str], *, hint: str = "") -> None:
        self.problems = tuple(problems)
        listed = "".join(f"\n  - {problem}" for problem in self.problems)
        super().__init__(f"The configuration is not valid:{listed}", hint=hint)


class InvalidId(InvalidInput):
    def __init__(self, kind: str, text: str) -> None:
        super().__init__(
            f"{text[:80]!r} cannot be the name of this {kind}.",
            hint="An id has 1 to 64 characters out of A-Z a-z 0-9 _ and -.",
        )


class InvalidDuration(InvalidInput):
    def __init__(self, text: str) -> None:
        super().__init__(
            f"{text[:80]!r} is not a duration.", hint="Write a number and a unit, such as 90s, 15m or 1h30m."
        )


class InvalidQuantity(InvalidInput):
    def __init__(self, what: str, text: str, hint: str) -> None:
        super().__init__(f"{text[:80]!r} is not an amount of {what}.", hint=hint)


class InvalidDocument(InvalidInput):
    """A configuration or job file whose text cannot be read as what it should be.

    `problems` are the sentences of the message, where it is made of several.
    """

    def __init__(self, message: str, *, hint: str = "", problems: Iterable[str] = ()) -> None:
        super().__init__(message, hint=hint)
        self.problems = tuple(problems)


class InvalidJob(InvalidInput):
    """A job that breaks one or more rules; every problem is in the one message."""

    def __init__(self, problems: Iterable[str], *, hint: str = "", many: bool = False) -> None:
        self.problems = tuple(problems)
        what = "The jobs are" if many else "The job is"
        if len(self.problems) == 1:
            message = f"{what} not valid: {self.problems[0]}"
        else:
            message = f"{what} not valid:" + "".join(f"\n  - {problem}" for problem in self.problems)
        super().__init__(message, hint=hint)


class PayloadTooLarge(InvalidInput):
    def __init__(self, what: str, size_bytes: int, limit_bytes: int) -> None:
        super().__init__(
            f"{what} has {size_bytes:,} bytes; at most {limit_bytes:,} are possible.",
            hint="Put large data into a bucket or behind a URL and name it as an input of the job.",
        )


class NotFound(TarponError):
    """What was asked for does not exist."""


class JobNotFound(NotFound):
    """`near` are names that may have been meant."""

    def __init__(self, job: str, near: Sequence[str] = ()) -> None:
        hint = (
            "`tarpon job list` shows the jobs. Some time after its end a job is forgotten;"
            " how long, say Orchestrator.JobRetention.MaxAge and .MaxJobs."
        )
        if job.startswith("e-"):
            hint = (
                "An id of an execution begins so: name its job, or where executions can be named too its whole id,"
                " which `tarpon job executions JOB --output json` has."
            )
        elif job.endswith("/"):
            hint = f"A folder of this machine begins with a dot or a slash, as in ./{job[:80]}. {hint}"
        super().__init__(f"There is no job {job[:80]!r}.", hint=f"{did_you_mean(near)}{hint}")
        self.near = tuple(near)


class JobAmbiguous(InvalidInput):
    def __init__(self, prefix: str, count: int) -> None:
        super().__init__(
            f"{prefix[:80]!r} names {count} jobs: it is the beginning of each one's id, or its name.",
            hint="Give the whole id of the one that is meant; `tarpon job list --output json` shows them.",
        )


class NodeNotFound(NotFound):
    """`near` are names that may have been meant."""

    def __init__(self, node: str, near: Sequence[str] = ()) -> None:
        hint = f"{did_you_mean(near)}`tarpon node list` shows the nodes."
        super().__init__(f"There is no node {node[:80]!r}.", hint=hint)


def did_you_mean(near: Iterable[str]) -> str:
    near = tuple(near)
    return f"Did you mean {' or '.join(repr(each) for each in near)}? " if near else ""


class NoResults(NotFound):
    """A job that has nothing to download."""


class ResultIsPlain(InvalidInput):
    """An archive is asked for, and the result is none."""

    def __init__(self, execution: str) -> None:
        super().__init__(
            f"The result of execution {execution} is an object for each file (`Encoding: plain`), and no archive.",
            hint="`tarpon job get` without --raw fetches it; `tarpon job files` lists it.",
        )


class Conflict(TarponError):
    """The present state forbids what was asked."""


class JobEnded(Conflict):
    def __init__(self, job: str, state: str) -> None:
        super().__init__(
            f"Job {job} cannot be stopped: it is {state} already.", hint="`tarpon job describe` shows how it ended."
        )


class JobBeingDeleted(Conflict):
    def __init__(self, job: str) -> None:
        super().__init__(
            f"Job {job} is being deleted.",
            hint="Try again in a moment. If it stays, `tarpon job describe` tells what it waits for.",
        )


class JobDeleted(Conflict):
    def __init__(self, job: str) -> None:
        super().__init__(
            f"The job of this idempotency token ({job}) was run before, and has been deleted since.",
            hint="To run it again, submit it with another token.",
        )


class JobUnchanged(Conflict):
    def __init__(self, name: str, job: str) -> None:
        super().__init__(
            f"Job {name!r} ({job}) exists and is the same as what was submitted, so nothing was started.",
            hint="Use --force to run it again as a new version, or give the job another name.",
        )


class IllegalTransition(Conflict):
    """A state change that the life cycle does not know."""


class Refused(TarponError):
    """The caller may not do this."""


class Forbidden(Refused):
    """It is known who asks, and that one may not do this."""


class Unauthorized(Refused):
    """Who asks has not shown who that is."""


class GrantRefused(Refused):
    """A node asked for a URL that it has no right to."""


class TooMuchAtOnce(TarponError):
    """The caller does too much at a time: the same may be asked again after `wait_seconds`."""

    retryable = True

    def __init__(self, message: str, *, hint: str, wait_seconds: float) -> None:
        super().__init__(message, hint=hint)
        self.wait_seconds = wait_seconds


class Unavailable(TarponError):
    """Something that is needed is away, and may come back."""

    retryable = True


class OrchestratorUnreachable(Unavailable):
    """`why` goes on from "at URL: ", as shared/runtime/network_problems.py has it."""

    advice = (
        "Start one with `tarpon serve` or `tarpon devstack`, or name another with -c API.Host=... -c API.Port=... (or"
        " TARPON_API_HOST and TARPON_API_PORT)."
    )

    def __init__(self, url: str, why: str = "") -> None:
        super().__init__(f"No orchestrator answers at {url}{': ' if why else ''}{why}.", hint=self.advice)


class NotReady(Unavailable):
    """The orchestrator is up and not yet able to do this."""


class RevisionConflict(Unavailable):
    """A record changed between reading and writing it: read again and decide again.

    Who asked hears of it only where that did not help for a while. No decision is in it: NATS also answers so while it
    cannot tell what came of a write before, which may have been the same request.
    """

    def __init__(self, key: str) -> None:
        super().__init__(
            f"The record {key!r} is being changed by somebody else, or NATS cannot tell yet whether it was.",
            hint="Try again; with the same idempotency token a submit that was taken already is not done twice.",
        )


class MessagingUnavailable(Unavailable):
    """NATS did not answer in time."""


class MessagingUnfit(MessagingUnavailable):
    """NATS is there, and cannot be used as it is set up."""


class MessagingFull(MessagingUnavailable):
    """NATS has no room for what is to be kept, or its operator allows for none."""

    def __init__(self, message: str, *, hint: str = "", details: dict[str, str] | None = None) -> None:
        hint = hint or (
            "Free disk space where NATS keeps its files (for the embedded server that is under DataDir), or raise its"
            " limits: max_file_store, max_memory_store, and those of the account. Tarpon reserves 1 GiB for reports. A"
            " server without limits takes three quarters of what is free when it starts: start it again afterwards."
        )
        super().__init__(message, hint=hint, details=details)


class StorageUnavailable(Unavailable):
    """S3, or what signs for it, cannot be used at present."""


class CredentialsMissing(StorageUnavailable):
    """The default AWS chain found no usable S3 credentials."""

    def __init__(self, why: str, *, hint: str = "") -> None:
        super().__init__(
            f"There are no usable S3 credentials: {why}",
            hint=hint
            or "Give the orchestrator AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a shared credentials file"
            " (~/.aws/credentials), or a machine or container with a role.",
        )


class CredentialsExpiring(StorageUnavailable):
    """The S3 credentials have too little life left to sign a URL of use, and new ones could not be had yet."""

    def __init__(self, remaining_seconds: float) -> None:
        state = f"expire in {remaining_seconds:.0f} s" if remaining_seconds > 0 else "have expired"
        super().__init__(
            f"The S3 credentials {state}, and there are no new ones yet.",
            hint="Whatever issues them (the instance's or container's role, a session token) has to renew them.",
        )


class PortTaken(Unavailable):
    retryable = False

    def __init__(self, what: str, host: str, port: int, setting: str) -> None:
        super().__init__(
            f"{what} cannot listen on {host}:{port}: the port is in use.",
            hint=f"Stop what listens there (`ss -ltnp 'sport = :{port}'` names it), or choose another port with"
            f" -c {setting}=...",
        )


class AlreadyRunning(Conflict):
    def __init__(self, role: str, data_dir: str, *, option: str = "-c DataDir=...") -> None:
        super().__init__(f"Another {role} is using {data_dir}.", hint=f"Stop it, or give this one its own {option}")


class Missing(TarponError):
    """A program or a package has to be installed first."""


class ProgramMissing(Missing):
    def __init__(self, program: str, how: str) -> None:
        super().__init__(f"The program {program!r} is not installed.", hint=how)


class ExtraMissing(Missing):
    def __init__(self, what: str, extra: str) -> None:
        super().__init__(
            f"{what} needs packages that are not installed here.",
            hint=f"Install them with: pip install 'tarpon-jobs[{extra}]' (from a checkout: pip install '.[{extra}]').",
        )


class Damaged(TarponError):
    """Bytes are not what was promised."""


class DigestMismatch(Damaged):
    def __init__(self, what: str, expected: str, found: str) -> None:
        super().__init__(
            f"{what} is not what the node said it published: SHA-256 {found}, expected {expected}.",
            hint="The object was damaged or replaced, or the node reported wrongly. Run the job again.",
        )


class UnsafeArchive(Damaged):
    """An archive that tries to write outside of the folder it is extracted to, or more than it announced."""


class ArchiveDamaged(Damaged):
    """An archive that ends too early, or whose bytes make no sense."""


class CannotExtract(Conflict):
    """A file of an archive cannot be written where it should go: something is there already, or the disk is full."""


class DownloadFailed(Unavailable):
    """An object could not be fetched."""


class IsSchedule(Conflict):
    """What is asked for is of a job that runs, and a schedule never does: its runs are jobs of their own."""


class RemoteError(TarponError):
    """An error that a service answered with. Its `code` is that of the error there."""

    TOO_MUCH: ClassVar[int] = 429

    def __init__(
        self, code: str, message: str, *, hint: str = "", status: int = 0, details: dict[str, str] | None = None
    ) -> None:
        super().__init__(message, hint=hint, details=details)
        self.remote_code = code
        self.status = status

    @property
    def wait_seconds(self) -> float:
        """After how long the same may be asked again, where it was too much."""
        try:
            return float(self.details.get(RETRY_AFTER, ""))
        except ValueError:
            return 1.0


def code_of(error: TarponError) -> str:
    """The code to show for `error`: that of the far side where the far side found it."""
    return error.remote_code if isinstance(error, RemoteError) else error.code
