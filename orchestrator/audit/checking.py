"""Checking the audit log: whether lines are missing, stand in another order, or were changed."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

import msgspec

from orchestrator.audit.events import AUDIT, MEND
from orchestrator.audit.lines import AuditLine, follows, read_line

FindingKind = Literal["gap", "order", "changed", "damaged", "mended"]


class AuditFinding(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """`mended` is a line that was not written whole when a process ended, which the log tells itself: no fault."""

    kind: FindingKind
    file: str
    line: int
    """The number that a line has or, where it is none, that of the one before."""
    message: str


class AuditChecked(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    lines: int
    first: int
    last: int
    findings: tuple[AuditFinding, ...]

    @property
    def is_whole(self) -> bool:
        return all(each.kind == "mended" for each in self.findings)


MOST_FINDINGS = 1000
"""Are told; all are looked for."""


class _Check:
    def __init__(self) -> None:
        self.before: AuditLine | None = None
        self.first = 0
        self.lines = 0
        self.findings: list[AuditFinding] = []
        self._damaged_bytes = 0
        self._damaged_in = ""

    @property
    def _number(self) -> int:
        return self.before.seq if self.before else 0

    def take(self, path: str, text: bytes) -> None:
        body = text.removesuffix(b"\n")
        line = read_line(body)
        if line is None:
            self._damaged_bytes += len(text)
            self._damaged_in = path
            return
        self.end_damage(line)
        self.lines += 1
        self.first = self.first or line.seq
        if self.before is not None:
            self._compare(path, self.before, line, body)
        elif line.seq == 1 and not follows("", body):
            self._find("changed", path, line.seq, "its digest does not follow from it")
        self.before = line

    def end_damage(self, line: AuditLine | None = None) -> None:
        """What is no line was torn where the next one says so, and was done to the file where it does not."""
        if not self._damaged_bytes:
            return
        size, self._damaged_bytes = self._damaged_bytes, 0
        told = line is not None and (line.action, line.operation) == (AUDIT, MEND)
        if told and line is not None and line.count in {size, size - 1}:
            self._find("mended", self._damaged_in, self._number, f"{size} bytes after it were not written whole")
        else:
            self._find("damaged", self._damaged_in, self._number, f"{size} bytes after it are no line")

    def _compare(self, path: str, before: AuditLine, line: AuditLine, body: bytes) -> None:
        if line.seq == before.seq + 1:
            if not follows(before.digest, body):
                told = "it does not follow from the one before: one of both was changed"
                self._find("changed", path, line.seq, told)
        elif line.seq > before.seq:
            missing = line.seq - before.seq - 1
            self._find("gap", path, line.seq, f"{missing} lines before it are missing")
        else:
            self._find("order", path, line.seq, f"it stands after line {before.seq}")

    def _find(self, kind: FindingKind, path: str, number: int, message: str) -> None:
        if len(self.findings) < MOST_FINDINGS:
            self.findings.append(AuditFinding(kind=kind, file=path, line=number, message=message))


def checked(texts: Iterable[tuple[Path, bytes]]) -> AuditChecked:
    """What is found in these lines. That lines are missing at the end does not show, nor at the beginning."""
    check = _Check()
    for path, text in _whole(texts):
        check.take(path.name, text)
    check.end_damage()
    last = check.before.seq if check.before else 0
    return AuditChecked(lines=check.lines, first=check.first, last=last, findings=tuple(check.findings))


def _whole(texts: Iterable[tuple[Path, bytes]]) -> Iterator[tuple[Path, bytes]]:
    """Without a last line that is being written at this moment."""
    held: tuple[Path, bytes] | None = None
    for each in texts:
        if held is not None:
            yield held
        held = each
    if held is not None and (held[1].endswith(b"\n") or read_line(held[1]) is not None):
        yield held
