"""Reading the audit log: lines of its files in their order, those that are asked for, and what comes meanwhile."""

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, NamedTuple

from orchestrator.audit.file import rotated
from orchestrator.audit.lines import MOST_BYTES, AuditLine, read_line
from shared.errors import NotFound

LOOK_SECONDS = 0.2


class AuditFilter(NamedTuple):
    """What is empty holds for every line. `object` is all of a name, or how one begins or ends."""

    who: str = ""
    action: str = ""
    object: str = ""
    namespace: str = ""
    outcome: str = ""
    since: datetime | None = None
    until: datetime | None = None

    def takes(self, line: AuditLine) -> bool:
        return (
            self.who in {"", line.who, line.kind}
            and self.action in {"", line.action, line.operation}
            and self.namespace in {"", line.namespace}
            and self.outcome in {"", line.outcome}
            and (self.since is None or line.time >= self.since)
            and (self.until is None or line.time < self.until)
            and (not self.object or self._is_about(line))
        )

    def _is_about(self, line: AuditLine) -> bool:
        if self.object in {line.job, line.execution, *line.executions}:
            return True
        return line.object.startswith(self.object) or line.object.endswith(self.object)


def audit_files(path: Path) -> list[Path]:
    """The files of a log, the oldest first. Raises NotFound where there is none."""
    found = [*rotated(path), *([path] if path.exists() else [])]
    if not found:
        raise NotFound(
            f"There is no audit log {path}.",
            hint="Run this on the orchestrator's machine, as its user and with its settings (-c DataDir=...).",
        )
    return found


def texts_of(files: Iterable[Path]) -> Iterator[tuple[Path, bytes]]:
    """Each line with its end, if it has one. One that is longer than any of an audit log comes in pieces."""
    for path in files:
        with suppress(FileNotFoundError), path.open("rb") as file:  # it may be rotated away meanwhile
            for text in _lines(file):
                yield path, text


def lines_of(path: Path, wanted: AuditFilter) -> Iterator[AuditLine]:
    """Those that are there now. Raises NotFound."""
    for _, text in texts_of(audit_files(path)):
        line = read_line(text)
        if line is not None and wanted.takes(line):
            yield line


def following(path: Path, wanted: AuditFilter) -> Iterator[AuditLine]:
    """Those that are there, and for ever those that come. What was rotated meanwhile is read to its end."""
    audit_files(path)
    follower = _Follower(path)
    while True:
        yield from filter(wanted.takes, follower.until_rotated())
        time.sleep(LOOK_SECONDS)


class _Follower:
    """Knows up to which line the log was read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._last = 0

    def until_rotated(self) -> Iterator[AuditLine]:
        """What comes, until the file that is written now has got another name."""
        with suppress(FileNotFoundError), self._path.open("rb") as file:
            yield from self._of_earlier()  # looked for with the file open, so that none is left out between both
            yield from self._new(file)
            while _has_name(file, self._path):
                time.sleep(LOOK_SECONDS)
                yield from self._new(file)
            return
        yield from self._of_earlier()

    def _of_earlier(self) -> Iterator[AuditLine]:
        earlier = rotated(self._path)
        begun = [position for position, each in enumerate(earlier) if _number(each) <= self._last + 1]
        for each in earlier[begun[-1] if begun else 0 :]:
            with suppress(FileNotFoundError), each.open("rb") as file:  # one may be removed meanwhile
                yield from self._new(file)

    def _new(self, file: BinaryIO) -> Iterator[AuditLine]:
        """The whole lines from where the file stands; one that is being written is left for the next time."""
        while text := file.readline(MOST_BYTES):
            if not text.endswith(b"\n") and len(text) < MOST_BYTES:
                file.seek(-len(text), os.SEEK_CUR)
                return
            line = read_line(text)
            if line is not None and line.seq > self._last:
                self._last = line.seq
                yield line


def _number(path: Path) -> int:
    return int(path.stem[-20:])


def _has_name(file: BinaryIO, path: Path) -> bool:
    try:
        found, opened = path.stat(), os.fstat(file.fileno())
    except FileNotFoundError:
        return False
    return (found.st_dev, found.st_ino) == (opened.st_dev, opened.st_ino)


def _lines(file: BinaryIO) -> Iterator[bytes]:
    while text := file.readline(MOST_BYTES):
        yield text
