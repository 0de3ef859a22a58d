"""Idempotency tokens: each stands for the one submission that it was first used for.

Who repeats a submit gives the same token again and means the same job. What tells whether it is the same is a digest of
what was asked for, in its normal form and before the server's defaults, which may change between two tries.
"""

import hashlib
from collections.abc import Sequence

import msgspec

from orchestrator.state.job_entry import JobEntry
from shared.errors import Conflict, InvalidInput
from shared.ids import JobId
from shared.jobs.spec import Job

MAX_TOKEN = 200

_FORM = "1:"
"""How the digest is made, of which normal form. One that was made in another way cannot be compared."""
_encoder = msgspec.json.Encoder(order="deterministic")


class IdempotencyTokenUsed(Conflict):
    """The token belongs to another submission."""

    def __init__(self, name: str, job: str) -> None:
        called = f"{name!r} ({job})" if name != job else job
        super().__init__(
            f"The idempotency token was used before, for another submission, of which job {called} came."
            " Nothing was started.",
            hint="Give each submission a token of its own. A repeated one has to ask for exactly the same.",
        )


class Use(msgspec.Struct, frozen=True, kw_only=True):
    """One use of a token, with what it asks for; nothing where there is no token."""

    token: str = ""
    digest: str = ""

    def may_repeat(self, digest: str) -> bool:
        """Whether what was asked for first may be the same. Records of earlier versions of Tarpon have no digest."""
        return not digest.startswith(_FORM) or self.digest == digest


def checked_token(token: str) -> str:
    """Raise InvalidInput for one that is too long: what tells two of them apart must not be cut off."""
    if len(token) > MAX_TOKEN:
        raise InvalidInput(
            f"The idempotency token has {len(token):,} characters; at most {MAX_TOKEN} are possible.",
            hint="A random UUID does.",
        )
    return token


def use_to_submit(token: str, job: Job) -> Use:
    """Of a job in its normal form."""
    return Use(token=token, digest=_digest(_encoder.encode(job)) if token else "")


def uses_together(token: str, jobs: Sequence[Job]) -> tuple[Use, ...]:
    """Of jobs that are submitted together: each is asked for with all the others."""
    if not token:
        return (Use(),) * len(jobs)
    digest = _digest(_encoder.encode(jobs))
    return tuple(Use(token=f"{token}/{number}", digest=digest) for number in range(len(jobs)))


def use_to_rerun(token: str, job: JobId, version: int, *, failed: bool = False) -> Use:
    asked = f"rerun {job} {version}{' failed' if failed else ''}"
    return Use(token=token, digest=_digest(asked.encode()) if token else "")


def _digest(data: bytes) -> str:
    return _FORM + hashlib.blake2b(data, digest_size=16).hexdigest()


def version_of_use(entry: JobEntry, use: Use) -> int:
    """The version of this job that came of it, 0 if none did. Raises IdempotencyTokenUsed if another one did."""
    for version, token, digest in entry.uses():
        if token == use.token:
            if not use.may_repeat(digest):
                raise IdempotencyTokenUsed(entry.job.name, entry.job.id)
            return version
    return 0
