"""The folders that are published: made once from fixed seeds, and the same on every machine."""

import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

BLOCK_BYTES = 16 << 20
FILE_BLOCKS = 64
SMALL_FILES = 20_000
SMALL_FOLDERS = 100
SMALL_BYTES = 4096
LOG_FILES = 4
LOG_BYTES = 64 << 20
LINES_AT_ONCE = 10_000
MTIME = 1_767_225_600  # the first second of 2026
_VERSION = 1


def default_cache() -> Path:
    return Path(os.environ.get("TMPDIR") or "/var/tmp") / "tarpon-benchmarks"


def corpus(name: str, cache: Path) -> Path:
    """The folder of this corpus, with its files in the page cache. It is made where it is not there yet."""
    folder = cache / f"{name}-{_VERSION}"
    if not folder.is_dir():
        unfinished = folder.with_suffix(f".{os.getpid()}")
        try:
            unfinished.mkdir(parents=True)
            BUILDERS[name](unfinished)
            _set_times(unfinished)
            unfinished.rename(folder)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    _read_all(folder)
    return folder


def _file(folder: Path) -> None:
    """1 GiB in one file: 16 MiB of noise and 16 MiB of text in turn."""
    randomness = random.Random("file")
    text = Text(randomness)
    with (folder / "data.bin").open("wb") as file:
        for number in range(FILE_BLOCKS):
            file.write(text.take(BLOCK_BYTES) if number % 2 else randomness.randbytes(BLOCK_BYTES))


def _small(folder: Path) -> None:
    """20,000 files of 4 KiB in 100 folders, noise and text in turn."""
    randomness = random.Random("small")
    text = Text(randomness)
    for number in range(SMALL_FILES):
        place = folder / f"part-{number % SMALL_FOLDERS:03}"
        place.mkdir(exist_ok=True)
        content = text.take(SMALL_BYTES) if number // SMALL_FOLDERS % 2 else randomness.randbytes(SMALL_BYTES)
        (place / f"sample-{number:05}.dat").write_bytes(content)


def _logs(folder: Path) -> None:
    """256 MiB of log lines in four files."""
    for number in range(LOG_FILES):
        lines = _log_lines(random.Random(f"logs {number}"))
        with (folder / f"worker-{number}.log").open("wb") as file:
            while file.tell() < LOG_BYTES:
                piece = "".join(next(lines) for _ in range(LINES_AT_ONCE)).encode()
                file.write(piece[: LOG_BYTES - file.tell()])


BUILDERS: dict[str, Callable[[Path], None]] = {"file": _file, "small": _small, "logs": _logs}


class Text:
    """Sentences of invented words, some of which are much more frequent than others, as in any language."""

    def __init__(self, randomness: random.Random) -> None:
        words = ["".join(randomness.choices("etaoinshrdlucmf", k=randomness.randint(2, 10))) for _ in range(4000)]
        weights = [1 / rank for rank in range(1, len(words) + 1)]
        sentences = (randomness.choices(words, weights, k=randomness.randint(6, 18)) for _ in range(40_000))
        self._sentences = [" ".join(sentence).capitalize() + ".\n" for sentence in sentences]
        self._randomness = randomness

    def take(self, size_bytes: int) -> bytes:
        text = "".join(self._randomness.choices(self._sentences, k=size_bytes // 30 + 1))
        assert len(text) >= size_bytes
        return text[:size_bytes].encode("ascii")


def _log_lines(randomness: random.Random) -> Iterator[str]:
    levels = randomness.choices(["INFO ", "DEBUG", "WARN ", "ERROR"], [70, 22, 6, 2], k=997)
    nouns = ("jobs", "nodes", "results") * 99
    paths = [f"/api/v1/{noun}/{randomness.randint(1, 9999)}" for noun in nouns]
    millis = 0
    while True:
        millis += int(randomness.expovariate(0.05))
        seconds, bits = millis // 1000, randomness.getrandbits(64)
        clock = f"{seconds // 3600 % 24:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{millis % 1000:03}"
        yield (
            f"2026-01-{1 + seconds // 86400 % 31:02}T{clock}Z {levels[bits % 997]} worker-{bits % 16:02} "
            f"request={bits >> 32:08x} GET {paths[bits % len(paths)]} "
            f"status={500 if bits % 211 == 0 else 200} took={bits % 977}ms\n"
        )


def _set_times(folder: Path) -> None:
    for place, _, names in os.walk(folder, topdown=False):
        for name in names:
            os.utime(Path(place, name), (MTIME, MTIME))
        os.utime(place, (MTIME, MTIME))


def _read_all(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb", buffering=0) as file:
                while file.read(BLOCK_BYTES):
                    pass
