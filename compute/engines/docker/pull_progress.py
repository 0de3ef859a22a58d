"""The progress of a pull, in a sentence, and how seldom that is told.

The engine tells each layer's progress many times a second; the history of a job is read by people and stored. So the
first thing is told at once, the next at the earliest after FIRST_PAUSE_SECONDS, and each pause is longer than the one
before, which makes about three dozen sentences of the longest pull.
"""

import msgspec

from compute.engines.docker.api import PullStep
from shared.protocol.execution_lines import PULLING

FIRST_PAUSE_SECONDS = 5.0
PAUSE_FACTOR = 1.15
MAX_NAME = 150

_DOWNLOADED = frozenset({"Verifying Checksum", "Download complete", "Extracting", "Pull complete"})
_WITHOUT_SIZE = frozenset({"Already exists"})
_ANNOUNCED = frozenset({"Pulling fs layer", "Waiting", "Downloading"})
_MEGABYTE = 1_000_000


class _Layer(msgspec.Struct):
    """`most_bytes` were here before what was done had to be done again."""

    done_bytes: int = 0
    total_bytes: int = 0
    most_bytes: int = 0
    is_here: bool = False


class PullProgress:
    """One pull that began at `now`, a monotonic time as all times here. `sentence` is the last one that was told."""

    def __init__(self, image: str, now: float) -> None:
        self._image = image[:MAX_NAME]
        self._began = now
        self._layers: dict[str, _Layer] = {}
        self._pause_seconds = FIRST_PAUSE_SECONDS
        self._told_at = now
        self.sentence = f"{PULLING}{self._image}"
        self.has_moved = False
        """Whether the last step brought more of the image than there was."""

    def __repr__(self) -> str:
        return f"<PullProgress {self.sentence!r}, {len(self._layers)} layers>"

    def take(self, step: PullStep, now: float) -> str:
        """What is to be told now; empty for nothing."""
        self._note(step)
        if now - self._told_at < self._pause_seconds:
            return ""
        sentence = self._described()
        if sentence == self.sentence:
            return ""
        self._told_at = now
        self._pause_seconds *= PAUSE_FACTOR
        self.sentence = sentence
        return sentence

    @property
    def is_all_here(self) -> bool:
        """As far as the engine has told what there is. It is unpacked next, of which Podman tells nothing."""
        return bool(self._layers) and all(each.is_here for each in self._layers.values())

    def finished(self, now: float) -> str:
        self.sentence = f"Pulled image {self._image} in {_seconds(now - self._began)}"
        return self.sentence

    def _note(self, step: PullStep) -> None:
        """Steps without a layer, and those of a layer that was here before, say nothing about how much is to come."""
        self.has_moved = False
        if not step.layer or step.status in _WITHOUT_SIZE:
            return
        if step.status not in _ANNOUNCED | _DOWNLOADED:
            return
        is_new, layer = step.layer not in self._layers, self._layers.setdefault(step.layer, _Layer())
        before = layer.most_bytes, layer.is_here
        layer.total_bytes = max(layer.total_bytes, step.total_bytes)
        layer.is_here = layer.is_here or step.status in _DOWNLOADED
        layer.done_bytes = layer.total_bytes if layer.is_here else step.done_bytes
        layer.most_bytes = max(layer.most_bytes, layer.done_bytes)
        self.has_moved = is_new or before != (layer.most_bytes, layer.is_here)

    def _described(self) -> str:
        """A percentage only where the size of everything is known, so that it never goes back."""
        layers = self._layers.values()
        done, total = sum(each.done_bytes for each in layers), sum(each.total_bytes for each in layers)
        here = sum(each.is_here for each in layers)
        if not layers:
            return f"{PULLING}{self._image}"
        if here == len(layers):
            return f"{PULLING}{self._image}: {_size(total) if total else 'all of it'} is here and being unpacked"
        if all(each.total_bytes or each.is_here for each in layers):
            return f"{PULLING}{self._image}: {100 * done // total} % of {_size(total)}"
        parts = f"{here} of {len(layers)} layers"
        return (
            f"{PULLING}{self._image}: {parts}, {_size(done)} so far" if done else (f"{PULLING}{self._image}: {parts}")
        )


def _size(size_bytes: int) -> str:
    if size_bytes < _MEGABYTE:
        return f"{size_bytes / 1000:.0f} kB"
    return f"{size_bytes / _MEGABYTE:.0f} MB"


def _seconds(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds >= 1 else f"{seconds:.1f} s"
