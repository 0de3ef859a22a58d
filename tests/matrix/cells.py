"""What came of one check with one peer, and how a check is carried out."""

import re
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import date
from enum import StrEnum
from typing import Generic, NamedTuple, TypeVar

import msgspec

B = TypeVar("B")
NOTE_CHARACTERS = 300
END = "end, with no credential left anywhere"


class Outcome(StrEnum):
    OK = "ok"
    FAILS = "fails"
    NOT_HERE = "not here"
    NOT_APPLICABLE = "not applicable"
    IGNORED = "ignored"
    REFUSED = "refused"


class Cell(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`note` is what was seen; where the check fails, in one sentence."""

    outcome: Outcome
    note: str = ""

    def __str__(self) -> str:
        return f"{self.outcome}: {self.note}" if self.note else str(self.outcome)


class Column(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was seen of one peer. One that is not here has no version, and no cell that is green."""

    peer: str
    version: str = ""
    day: date
    cells: dict[str, Cell]

    @property
    def is_here(self) -> bool:
        return any(cell.outcome is not Outcome.NOT_HERE for cell in self.cells.values())


class NotApplicable(Exception):
    """The peer has nothing of the kind, and why."""


class Ignored(Exception):
    """The peer takes a rule, and does not keep to it."""


class RuleRefused(Exception):
    """The peer takes no such rule, and what it answers."""


class NotHere(Exception):
    """The peer, or what a check needs, is not on this machine, and why."""


_OUTCOMES: Mapping[type[Exception], Outcome] = {
    NotApplicable: Outcome.NOT_APPLICABLE,
    NotHere: Outcome.NOT_HERE,
    Ignored: Outcome.IGNORED,
    RuleRefused: Outcome.REFUSED,
}


class Check(NamedTuple, Generic[B]):
    """`carry_out` gives a note, or nothing; whatever it raises is how it failed."""

    name: str
    carry_out: Callable[[B], str | None]


class Peer(NamedTuple, Generic[B]):
    """`bench` starts it and gives what its checks work with. `version` is asked when it runs."""

    name: str
    version: Callable[[], str]
    bench: Callable[[], AbstractContextManager[B]]


def column(peer: Peer[B], checks: Sequence[Check[B]], day: date, tell: Callable[[str], None]) -> Column:
    """All checks with the peer, one after the other, and its end. Blocks."""
    cells: dict[str, Cell] = {}
    version, rest = "", Cell(outcome=Outcome.OK)
    try:
        version = peer.version()
        with peer.bench() as bench:
            for check in checks:
                cells[check.name] = tried(check, bench)
                tell(f"{peer.name}: {check.name}: {cells[check.name]}")
    except NotHere as error:
        tell(f"{peer.name}: not here: {error}")
        version, rest = "", Cell(outcome=Outcome.NOT_HERE, note=sentence(str(error)))
    except Exception as error:  # noqa: BLE001  # it did not start, or left something when it stopped
        traceback.print_exception(error, file=sys.stderr)
        rest = Cell(outcome=Outcome.FAILS, note=sentence(told(error)))
    found = {check.name: cells.get(check.name, rest) for check in checks}
    return Column(peer=peer.name, version=version, day=day, cells=found | {END: rest})


def tried(check: Check[B], bench: B) -> Cell:
    try:
        note = check.carry_out(bench)
    except tuple(_OUTCOMES) as reason:
        return Cell(outcome=_OUTCOMES[type(reason)], note=sentence(str(reason)))
    except Exception as error:  # noqa: BLE001  # whatever it is, the other cells are wanted too
        traceback.print_exception(error, file=sys.stderr)
        return Cell(outcome=Outcome.FAILS, note=sentence(told(error)))
    return Cell(outcome=Outcome.OK, note=note or "")


def told(error: BaseException) -> str:
    """The first of a group; the class where there is no text."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error).strip() or type(error).__name__


def sentence(text: str) -> str:
    """One line of bounded length that can stand in a table."""
    line = re.sub(r"\s+", " ", text).replace("|", "/").strip()
    return line if len(line) <= NOTE_CHARACTERS else line[: NOTE_CHARACTERS - 3] + "..."


def merged(before: Iterable[Column], now: Iterable[Column]) -> list[Column]:
    """In the order that they had; those of this run replace theirs, and new ones come last."""
    found: Mapping[str, Column] = {each.peer: each for each in now}
    kept = [found.get(each.peer, each) for each in before]
    return [*kept, *(each for name, each in found.items() if name not in {kept_one.peer for kept_one in kept})]
