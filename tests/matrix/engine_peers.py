"""The container engines of the matrix: those of this machine, started for the run, and others that run already."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

from tests.engine import CannotStart, TestEngine, start_engine
from tests.matrix import programs
from tests.matrix.cells import NotApplicable, NotHere, Peer
from tests.matrix.engine_checks import EngineBench
from tests.podman import rootless_podman, start_podman
from tests.servers import start_weed

SOCKETS = "MATRIX_ENGINES"
"""The variable with engines that run already: `name=/path/of/its.sock`, separated by commas."""


class RunningEngine(TestEngine):
    """Somebody else's, of which nothing is stopped."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self.url = f"unix://{socket}"

    def start(self, *flags: str) -> None:
        raise NotApplicable("It is not ours to start.")

    def terminate(self) -> None:
        raise NotApplicable("It is not ours to stop.")

    def version(self) -> str:
        try:
            return str(json.loads(self.request("GET", "/version"))["Version"])
        except OSError as error:
            raise NotHere(f"{self.socket} does not answer: {error}") from None


def peers() -> Sequence[Peer[EngineBench]]:
    named = [each.partition("=") for each in os.environ.get(SOCKETS, "").split(",") if each]
    running = {name: RunningEngine(Path(place.removeprefix("unix://"))) for name, _, place in named}
    return [
        Peer("Docker", partial(_version, "dockerd"), partial(_bench, docker)),
        Peer("Podman", partial(_version, "podman"), partial(_bench, podman)),
        Peer("rootless Podman", partial(_version, "podman"), partial(_bench, rootless_podman)),
        *(Peer(name, engine.version, partial(_bench, partial(found, engine))) for name, engine in running.items()),
    ]


def _version(program: str) -> str:
    return programs.version(programs.find(program), "--version")


@contextmanager
def docker() -> Iterator[TestEngine]:
    engine = start_engine()
    try:
        yield engine
    finally:
        engine.stop()


@contextmanager
def podman() -> Iterator[TestEngine]:
    engine = start_podman()
    try:
        yield engine
    finally:
        engine.stop()


@contextmanager
def found(engine: RunningEngine) -> Iterator[TestEngine]:
    engine.add_image()
    yield engine


@contextmanager
def _bench(start: Callable[[], AbstractContextManager[TestEngine]]) -> Iterator[EngineBench]:
    folder = Path(tempfile.mkdtemp(prefix="tarpon-matrix-"))
    folder.chmod(0o755)  # a rootless engine's node is another user's
    try:
        s3 = start_weed(folder / "s3")
        try:
            with start() as engine:
                bench = EngineBench(folder, s3, engine)
                try:
                    yield bench
                finally:
                    bench.end()
        finally:
            s3.stop()
    except CannotStart as error:
        raise NotHere(str(error)) from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)
