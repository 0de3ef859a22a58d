"""The probe of the bucket, which does what everything else does: a signed PUT and a signed GET."""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable

import aiohttp
import msgspec

from orchestrator.rules.location import Location
from orchestrator.s3.disposition import named
from orchestrator.s3.occupied_key import explain_unwritten
from orchestrator.s3.problems import BucketProblem, ProblemCode, clock_words, explain_exception, explain_failure
from orchestrator.s3.requests import Answer, Send, Sign
from shared.errors import StorageUnavailable
from shared.protocol.objects import probe_key
from shared.protocol.s3_errors import S3Failure, UploadAction, action_for
from shared.protocol.signed_url import SignedUrl
from shared.protocol.url_life import MOST_SKEW_SECONDS

logger = logging.getLogger(__name__)

BODY = b"Tarpon wrote this to learn whether it may. It stays here.\n"
SPACING_SECONDS = 1.0
"""As credentials are read once a second at most, a probe that comes sooner would find what the last one found."""
CREATE_ONLY = {"if-none-match": "*"}
"""The header that makes a PUT fail where an object exists (Amazon S3 user guide, "Conditional writes")."""


class ProbeOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What one probe found.

    `create_only`: the service honours `If-None-Match: *` on a PUT. `names_downloads`: it takes a GET that says what the
    object is called by who saves it. `clock_skew_seconds`: how far S3's clock is ahead of
    ours, to the second, also where it does no harm yet; None where S3 did not tell.
    """

    ready: bool
    create_only: bool = False
    names_downloads: bool = True
    problem: BucketProblem | None = None
    clock_skew_seconds: float | None = None


PROBE_NAME = "tarpon-probe.txt"


NOT_PROBED = ProbeOutcome(
    ready=False,
    problem=BucketProblem(
        code=ProblemCode.NOT_PROBED,
        message="The bucket has not been tried yet.",
        hint="Try again in a few seconds.",
    ),
)


class _Stopped(Exception):
    """Carries the finding out of the steps."""

    def __init__(self, problem: BucketProblem, clock_skew_seconds: float | None) -> None:
        super().__init__(problem.code)
        self.outcome = ProbeOutcome(ready=False, problem=problem, clock_skew_seconds=clock_skew_seconds)


async def probe(send: Send, location: Location, sign: Sign) -> ProbeOutcome:
    """Write `[<Key>/].tarpon-probe`, read it back, and write it again on condition that it is absent.

    Raises nothing but a cancellation, after which the object may or may not be there; it never matters.
    """
    key = probe_key(location.key)
    try:
        written = await _step(send, location, sign("PUT", key), BODY)
        await _require_written(written, location, send, sign)
        read = await _step(send, location, sign("GET", key, query=named(PROBE_NAME)))
        if not (names_downloads := read.answer.failure is None):
            read = await _step(send, location, sign("GET", key))
        _require_success(read, location)
        _require_same(read, location)
        again = await _step(send, location, sign("PUT", key, headers=CREATE_ONLY), BODY)
        return ProbeOutcome(
            ready=True,
            create_only=_is_honoured(again, location),
            names_downloads=names_downloads,
            clock_skew_seconds=read.skew,
        )
    except _Stopped as stopped:
        return stopped.outcome


class _Step(msgspec.Struct, frozen=True):
    answer: Answer
    skew: float | None


async def _step(send: Send, location: Location, signing: Awaitable[SignedUrl], body: bytes | None = None) -> _Step:
    try:
        url = await signing
        answer = await send(url, body=body)
    except (aiohttp.ClientError, OSError, StorageUnavailable) as error:
        raise _Stopped(explain_exception(error, location), None) from None
    return _Step(answer, answer.clock_ahead_seconds(time.time()))


async def _require_written(step: _Step, location: Location, send: Send, sign: Sign) -> None:
    if step.answer.failure is None:
        return
    try:
        problem = await explain_unwritten(step.answer.failure, location, step.skew, send, sign)
    except (aiohttp.ClientError, OSError, StorageUnavailable):
        raise _stopped(step.answer.failure, step, location) from None
    raise _Stopped(problem, step.skew)


def _require_success(step: _Step, location: Location) -> None:
    if step.answer.failure is not None:
        raise _stopped(step.answer.failure, step, location)


def _require_same(step: _Step, location: Location) -> None:
    if step.answer.body != BODY:
        raise _Stopped(_not_kept(location), step.skew)


def _stopped(failure: S3Failure, step: _Step, location: Location) -> _Stopped:
    return _Stopped(explain_failure(failure, location, step.skew), step.skew)


def _is_honoured(step: _Step, location: Location) -> bool:
    """412 is what honouring looks like. A service that fails for the moment has told nothing: the probe has failed."""
    failure = step.answer.failure
    if failure is None:
        return False
    match action_for(failure):
        case UploadAction.SETTLE:
            return True
        case UploadAction.RETRY | UploadAction.RETRY_SLOWER:
            raise _stopped(failure, step, location)
        case UploadAction.RENEW_URL | UploadAction.ASK | UploadAction.RESEND | UploadAction.FAIL:
            return False


def _not_kept(location: Location) -> BucketProblem:
    return BucketProblem(
        code=ProblemCode.NOT_S3,
        message=f"What was written to {location.place} is not what was read back.",
        hint="Endpoint may lead to something that is not an S3 service, or to a cache in front of one.",
    )


class BucketHealth:
    """What the last probe found. `run()` repeats it until it succeeds, and again when there is reason to doubt it."""

    def __init__(self, check: Callable[[], Awaitable[ProbeOutcome]], place: str, *, interval_seconds: float) -> None:
        self._check = check
        self._place = place
        self._interval_seconds = interval_seconds
        self._outcome = NOT_PROBED
        self._create_only = False
        self._names_downloads = True
        self._doubted = asyncio.Event()
        self._probing = asyncio.Lock()
        self._begun = self._ended = 0
        """The numbers of the last probe that has begun, and of the last one that has ended."""
        self._ended_at = -math.inf

    def __repr__(self) -> str:
        problem = self._outcome.problem
        return f"<BucketHealth {self._place}: {problem.code if problem else 'ready'}>"

    @property
    def outcome(self) -> ProbeOutcome:
        return self._outcome

    @property
    def create_only(self) -> bool:
        """Whether PUTs are, as the last probe found that found anything: a bucket that fails now is the same later."""
        return self._create_only

    @property
    def names_downloads(self) -> bool:
        """The same of GETs with a name. Where nobody has looked they have one: no service is known that refuses it."""
        return self._names_downloads

    async def check(self, *, not_before: float = -math.inf) -> ProbeOutcome:
        """What a probe finds that begins from now on, not before some moment. Several callers share one."""
        before = self._begun
        async with self._probing:
            if self._ended <= before:
                await asyncio.sleep(not_before - time.monotonic())
                self._begun = number = self._begun + 1
                known, self._outcome = self._outcome, await self._check()
                self._ended, self._ended_at = number, time.monotonic()
                self._tell(known, self._outcome)
                if self._outcome.ready:
                    self._create_only = self._outcome.create_only
                    self._names_downloads = self._outcome.names_downloads
        return self._outcome

    async def confirm(self) -> BucketProblem | None:
        """What is wrong with the bucket at this moment. If something is, `run()` tries until it is not.

        Nodes ask for it, so it is done at most once in `SPACING_SECONDS`, however many wait for it.
        """
        outcome = await self.check(not_before=self._ended_at + SPACING_SECONDS)
        if not outcome.ready:
            self._doubted.set()
        return outcome.problem

    async def run(self) -> None:
        """Keep what is known up to date, until cancelled."""
        while True:
            await self.until_ready()
            await self._doubted.wait()
            self._doubted.clear()
            await asyncio.sleep(self._interval_seconds)

    async def until_ready(self) -> None:
        """Probe every `interval_seconds` until it succeeds."""
        outcome = await self.check()
        while not outcome.ready:
            await asyncio.sleep(self._interval_seconds)
            outcome = await self.check()

    def _tell(self, before: ProbeOutcome, now: ProbeOutcome) -> None:
        if now.problem is not None:
            if before.problem is None or before.problem.code is not now.problem.code:
                logger.warning("Results cannot be stored in %s: %s", self._place, now.problem)
        elif before.problem is not None:
            create_only = "honours" if now.create_only else "does not honour"
            logger.info("Results are stored in %s, which %s create-only PUTs.", self._place, create_only)
            if abs(now.clock_skew_seconds or 0) > MOST_SKEW_SECONDS:
                told = "The clock of this machine is wrong: %s. Requests go well all the same; set it, best by NTP."
                logger.warning(told, clock_words(now.clock_skew_seconds))
