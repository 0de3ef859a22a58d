"""Reading the audit log: lines of its files in their order, those that are asked for, and what comes meanwhile."""

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
    last = 0
    while True:
        for line in _after(path, last):
            last = line.seq
            if wanted.takes(line):
                yield line
        time.sleep(LOOK_SECONDS)


def _after(path: Path, last: int) -> Iterator[AuditLine]:
    """What comes after line `last`: files that end before it are not read again."""
    files = audit_files(path)
    firsts = [_number(each) for each in files[:-1]]
    begun = [position for position, first in enumerate(firsts) if first <= last]
    for _, text in texts_of(files[begun[-1] if begun and last else 0 :]):
        line = read_line(text) if text.endswith(b"\n") else None
        if line is not None and line.seq > last:
            yield line


def _number(path: Path) -> int:
    return int(path.stem[-20:])


def _lines(file: BinaryIO) -> Iterator[bytes]:
    while text := file.readline(MOST_BYTES):
        yield text
