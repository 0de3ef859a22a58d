"""Audit logs in tests: read back whole, and disks that are full for them (no tests in here)."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestrator.audit.file import AuditFile, Rotation, rotated
from orchestrator.audit.lines import AuditLine, follows, read_line
from orchestrator.audit.recorder import Audit

NAME = "audit.jsonl"


def lines_in(*paths: Path) -> list[AuditLine]:
    """The whole lines of these files, each of which has to follow from the one before it, without a gap."""
    found: list[AuditLine] = []
    for text in b"".join(path.read_bytes() for path in paths).splitlines():
        line = read_line(text)
        if line is not None:
            assert follows(found[-1].digest if found else "", text), line
            found.append(line)
    assert [each.seq for each in found] == list(range(1, len(found) + 1))
    return found


def lines_of(data_dir: Path) -> list[AuditLine]:
    """Those of the orchestrator with this DataDir."""
    path = data_dir / "orchestrator" / "audit" / NAME
    return lines_in(*rotated(path), path)


def audit_in(folder: Path) -> Audit:
    """One whose file is `audit.jsonl` there; it needs not be opened."""
    return Audit(AuditFile(folder / NAME, Rotation(1 << 30, 0), orchestrator="o-test", sync_seconds=1.0))


@contextmanager
def full_at(size_bytes: int) -> Iterator[None]:
    """No file of this process grows beyond that meanwhile, as on a disk that is full: the last write ends early."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
