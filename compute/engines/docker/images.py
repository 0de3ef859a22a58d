"""Images on this machine: each is pulled once, however many tasks want it at the same time."""

import asyncio
import logging
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from compute.engines.docker.api import DockerApi, EngineRefusal
from compute.engines.docker.credentials import find_credentials, full_name, registry_of
from compute.engines.docker.pull_progress import PullProgress
from shared.jobs.states import FailureReason

_log = logging.getLogger(__name__)

_SETTINGS = "Engines.Types.Docker"
_NOT_FOUND = 404

_FOR_NOW = "toomanyrequests|too many requests|(status|status code from registry|http)[: ]*5[0-9][0-9]|pinging .* 404 "
_PART_IS_MISSING = "unknown blob|blob unknown|fetching blob|/blobs/.*not found"
_DENIED = "denied|unauthorized|authentication required|no basic auth|403 [(]?forbidden|http 403"
_UNKNOWN = "manifest unknown|not found|no matching manifest|name unknown|no image found in"
# The engine hands on the registry's words, and nothing else tells these apart; the first that is found counts.
_WORDS = (
    (FailureReason.DISK_FULL, re.compile("no space left on device")),
    (FailureReason.IMAGE_NOT_PULLED, re.compile(f"{_FOR_NOW}|{_PART_IS_MISSING}")),
    (FailureReason.IMAGE_ACCESS_DENIED, re.compile(_DENIED)),
    (FailureReason.IMAGE_NOT_FOUND, re.compile(_UNKNOWN)),
)
_TAG = re.compile(r"(:[\w.-]+)?(@.*)?$")
_SENTENCES = {
    FailureReason.IMAGE_ACCESS_DENIED: (
        "The image {image} is not to be had from {registry}: it does not exist there, or it needs credentials that "
        "this node has not got (its operator gives them with `docker login`)."
    ),
    FailureReason.IMAGE_NOT_FOUND: "The image {image} does not exist at {registry}.",
    FailureReason.DISK_FULL: "The disk of the node's container engine is full, so {image} could not be pulled.",
    FailureReason.IMAGE_NOT_PULLED: "The image {image} could not be pulled from {registry}.",
}


class PullLimits(msgspec.Struct, frozen=True, kw_only=True):
    """For one pull, from when it begins, and for how long it may stand still while there is more to come."""

    seconds: float | None = 3600.0
    still_seconds: float | None = 300.0

    def on_time_out(self, *, stood_still: bool) -> str:
        if stood_still:
            return f"Nothing of it came for {self.still_seconds:g} s (the node's {_SETTINGS}.PullStallTimeout)."
        return f"It took longer than {self.seconds:g} s (the node's {_SETTINGS}.PullTimeout)."


class ImageMissing(Exception):
    """An image did not come."""

    def __init__(self, reason: FailureReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class _Pull:
    """The pulls of one image, one after the other."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.finished = 0
        self.problem: ImageMissing | None = None
        self.listeners: list[Callable[[str], None]] = []
        self.progress: PullProgress | None = None
        """Of the pull that is under way."""

    def begin(self, image: str) -> PullProgress:
        self.progress = PullProgress(image, time.monotonic())
        self.tell(self.progress.sentence)
        return self.progress

    def tell(self, sentence: str) -> None:
        if sentence:
            for listener in self.listeners:
                listener(sentence)


class Images:
    def __init__(self, api: DockerApi, credentials: Path, limits: PullLimits) -> None:
        self._api = api
        self._credentials = credentials
        self._limits = limits
        self._pulls: dict[str, _Pull] = {}

    def __repr__(self) -> str:
        return f"<Images, pulling {sorted(self._pulls)}>"

    async def pull(self, image: str, on_progress: Callable[[str], None]) -> None:
        """Returns when a pull that ended after this was called has succeeded. Raises ImageMissing, EngineAway.

        `on_progress` gets a sentence now and then, also where somebody else has begun the pull.
        """
        with self._joined(image, on_progress) as pull:
            before = pull.finished
            async with pull.lock:
                if pull.finished == before:
                    pull.problem = await self._pulled(image, pull)
                    pull.finished += 1
                if pull.problem:
                    raise pull.problem

    @contextmanager
    def _joined(self, image: str, on_progress: Callable[[str], None]) -> Iterator[_Pull]:
        pull = self._pulls.setdefault(image, _Pull())
        pull.listeners.append(on_progress)
        if pull.progress is not None:
            on_progress(pull.progress.sentence)
        try:
            yield pull
        finally:
            pull.listeners.remove(on_progress)
            if not pull.listeners:
                del self._pulls[image]

    async def _pulled(self, image: str, pull: _Pull) -> ImageMissing | None:
        registry = registry_of(image)
        auth = await asyncio.to_thread(find_credentials, registry, self._credentials)
        _log.info("Pulling the image %s%s.", image, "" if auth is None else " with credentials")
        progress, limits = pull.begin(image), self._limits
        whole, still = asyncio.timeout(limits.seconds), asyncio.timeout(limits.still_seconds)
        try:
            async with whole, still:
                async for step in self._api.pull(full_name(image), auth):
                    pull.tell(progress.take(step, time.monotonic()))
                    if limits.still_seconds is not None and progress.has_moved:
                        is_here = progress.is_all_here
                        still.reschedule(None if is_here else asyncio.get_running_loop().time() + limits.still_seconds)
        except EngineRefusal as error:
            return why_not(image, registry, error.message)
        except TimeoutError:
            if not (whole.expired() or still.expired()):
                raise
            return timed_out(image, registry, limits.on_time_out(stood_still=still.expired()))
        finally:
            pull.progress = None
        pull.tell(progress.finished(time.monotonic()))
        _log.info("Pulled the image %s.", image)
        return None


def is_missing_image(error: EngineRefusal) -> bool:
    """Whether the machine lacks the image, or a part of it, which the store of containerd tells so."""
    told = error.message.lower()
    return error.status == _NOT_FOUND and ("no such image" in told or "content digest" in told)


def why_not(image: str, registry: str, words: str) -> ImageMissing:
    own = _without_name(image, registry, words).lower()
    found = (reason for reason, pattern in _WORDS if pattern.search(own))
    reason = next(found, FailureReason.IMAGE_NOT_PULLED)
    return _missing(reason, image, registry, f"The answer was: {words[:200]}")


def _without_name(image: str, registry: str, words: str) -> str:
    """The job's author has chosen it, and it may be `access-denied`."""
    repository = _TAG.sub("", full_name(image)).removeprefix(f"{registry}/")
    for name in (repository if "/" in repository else f"/{repository}", registry):
        words = re.sub(rf"(?:\b|(?=/)){re.escape(name)}(?![\w-])", "", words)
    return words


def timed_out(image: str, registry: str, why: str) -> ImageMissing:
    return _missing(FailureReason.IMAGE_NOT_PULLED, image, registry, why)


def _missing(reason: FailureReason, image: str, registry: str, why: str) -> ImageMissing:
    sentence = _SENTENCES[reason].format(image=image[:150], registry=registry[:80])
    return ImageMissing(reason, f"{sentence} {why}")
