"""How an image comes to this machine: pulled once, however many tasks want it at the same time."""

import asyncio
import logging
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from compute.engines.docker_api import DockerApi, EngineRefusal
from compute.engines.docker_credentials import find_credentials, full_name, registry_of
from compute.engines.docker_pull_progress import PullProgress
from shared.states import FailureReason

_log = logging.getLogger(__name__)

PULL_SECONDS = 3600.0

# The engine hands on the registry's words, and nothing else tells these apart; the first that is found counts.
_WORDS = (
    (FailureReason.IMAGE_ACCESS_DENIED, re.compile("denied|unauthorized|authentication required|no basic auth")),
    (FailureReason.IMAGE_NOT_FOUND, re.compile("manifest unknown|not found|no matching manifest|name unknown")),
    (FailureReason.DISK_FULL, re.compile("no space left on device")),
)
_SENTENCES = {
    FailureReason.IMAGE_ACCESS_DENIED: (
        "The image {image} is not to be had from {registry}: it does not exist there, or it needs credentials that "
        "this node has not got (its operator gives them with `docker login`)."
    ),
    FailureReason.IMAGE_NOT_FOUND: "The image {image} does not exist at {registry}.",
    FailureReason.DISK_FULL: "The disk of the node's container engine is full, so {image} could not be pulled.",
    FailureReason.IMAGE_NOT_PULLED: "The image {image} could not be pulled from {registry}.",
}


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
    def __init__(self, api: DockerApi, credentials: Path) -> None:
        self._api = api
        self._credentials = credentials
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
        progress = pull.begin(image)
        try:
            async with asyncio.timeout(PULL_SECONDS):
                async for step in self._api.pull(full_name(image), auth):
                    pull.tell(progress.take(step, time.monotonic()))
        except EngineRefusal as error:
            return why_not(image, registry, error.message)
        except TimeoutError:
            return why_not(image, registry, f"it took longer than {PULL_SECONDS:g} s")
        finally:
            pull.progress = None
        pull.tell(progress.finished(time.monotonic()))
        _log.info("Pulled the image %s.", image)
        return None


def why_not(image: str, registry: str, words: str) -> ImageMissing:
    found = (reason for reason, pattern in _WORDS if pattern.search(words.lower()))
    reason = next(found, FailureReason.IMAGE_NOT_PULLED)
    sentence = _SENTENCES[reason].format(image=image[:150], registry=registry[:80])
    return ImageMissing(reason, f"{sentence} The answer was: {words[:200]}")
