"""Patience with S3: whether an object that was not read is asked for again, when, and with which URL.

What is done about which answer is in shared/protocol/s3_errors.py.
"""

import logging
from http import HTTPStatus

from compute.inputs.failures import InputFailed
from compute.inputs.objects.given import GivenFile
from compute.upload.delivery import (
    FIRST_PAUSE_SECONDS,
    LONGEST_PAUSE_SECONDS,
    MAX_ASKED,
    SLOW_PAUSE_SECONDS,
    UNANSWERED_PER_URL,
)
from shared.jobs.states import FailureReason
from shared.protocol.s3_errors import S3Failure, UploadAction, action_for, may_be_of_keys
from shared.protocol.signed_url import SignedUrl
from shared.runtime.backoff import Backoff

_log = logging.getLogger(__name__)

_GONE = frozenset({"NoSuchKey", "NoSuchVersion"})
_CHANGED = frozenset({"PreconditionFailed", "InvalidRange"})


class Patience:
    """With one part of an object. It never gives up because of time: the caller sets the deadline."""

    def __init__(self, given: GivenFile, *, first_pause_seconds: float = FIRST_PAUSE_SECONDS) -> None:
        self._given = given
        self._pauses = Backoff(first_pause_seconds, LONGEST_PAUSE_SECONDS)
        self._unanswered = 0
        self._asked = 0
        self._used_at = 0.0
        """When the URL that was used last was asked for."""

    def __repr__(self) -> str:
        return f"<Patience with {self._given!r}>"

    async def url(self) -> SignedUrl:
        """Raises InputFailed."""
        self._used_at, url = await self._given.url()
        return url

    async def after_no_answer(self, problem: str, *, has_come: bool) -> None:
        """Wait. `has_come`: some of it was read before."""
        self._given.trouble.failed(problem)
        self._given.trouble.retried()
        if has_come:
            self._pauses.reset()
            self._unanswered = 0
        self._unanswered += 1
        await self._pauses.pause()
        if self._unanswered >= UNANSWERED_PER_URL:
            self._unanswered = 0
            await self._given.batch.renew(self._used_at, "")

    async def after_refusal(self, failure: S3Failure) -> None:
        """Wait, and get a new URL where that is the cure. Raises InputFailed where no other try can help."""
        _log.info("The input %s: S3 answered %s.", self._given.told, failure)
        self._given.trouble.failed(str(failure))
        if failure.code in _GONE:
            raise InputFailed(
                FailureReason.INPUT_NOT_FOUND,
                f"The input object {self._given.told} was deleted since the job was submitted.",
            )
        if failure.code in _CHANGED or failure.status in {
            HTTPStatus.PRECONDITION_FAILED,
            HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
        }:
            raise changed(self._given)
        await self._prepare(action_for(failure), failure)
        self._given.trouble.retried()

    async def _prepare(self, action: UploadAction, failure: S3Failure) -> None:
        match action:
            case UploadAction.RENEW_URL | UploadAction.ASK:
                self._asked += action is UploadAction.ASK
                if self._asked > MAX_ASKED:
                    raise self._refused(failure)
                await self._pauses.pause()
                code = (failure.code or str(failure.status)) if may_be_of_keys(failure) else ""
                await self._given.batch.renew(self._used_at, code)
            case UploadAction.RETRY | UploadAction.RESEND:
                await self._pauses.pause()
            case UploadAction.RETRY_SLOWER:
                await self._pauses.pause(at_least=SLOW_PAUSE_SECONDS)
            case UploadAction.SETTLE | UploadAction.FAIL:
                raise self._refused(failure)

    def _refused(self, failure: S3Failure) -> InputFailed:
        detail = f"S3 does not give the input object {self._given.told}: {failure}"
        if failure.status == HTTPStatus.NOT_FOUND:
            return InputFailed(FailureReason.INPUT_NOT_FOUND, detail)
        return InputFailed(FailureReason.INPUT_ACCESS_DENIED, detail)


def changed(given: GivenFile) -> InputFailed:
    return InputFailed(
        FailureReason.INPUT_CHANGED, f"The input object {given.told} has changed since the job was submitted."
    )


def damaged(given: GivenFile) -> InputFailed:
    return InputFailed(
        FailureReason.INPUT_DAMAGED,
        f"The input object {given.told} is not what its checksum says. It was stored so, or changed on the way.",
    )
