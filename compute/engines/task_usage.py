"""The usage of one task: what it has used of its node, as far as it was seen."""

from dataclasses import dataclass

from shared.protocol.results.provenance import Resource


@dataclass(slots=True)
class TaskUsage:
    """`peak_memory_bytes` is the most that was seen, 0 where nothing was.

    `fetch_seconds` and `pull_seconds` are what its inputs and its image took before it ran.

    `image` is what its image is called and its id by the engine, empty where there is none or nobody knows.

    `run_seconds` is given where the engine knows better than the node how long the task has run, as after a restart.
    """

    peak_memory_bytes: int = 0
    run_seconds: float | None = None
    fetch_seconds: float = 0.0
    pull_seconds: float = 0.0
    image: tuple[str, str] = ("", "")
    inputs: tuple[Resource, ...] = ()

    def reads(self, inputs: tuple[Resource, ...]) -> None:
        """What it is given to read, besides what was told before."""
        self.inputs += inputs

    def saw(self, memory_bytes: int) -> None:
        self.peak_memory_bytes = max(self.peak_memory_bytes, memory_bytes)
