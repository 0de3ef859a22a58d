"""Entries of the journal: an execution's assignment, how far it is, and what has happened to it."""

import enum
import time

import msgspec

from compute.processes.mark import ProcessMark
from shared.ids import ExecutionId
from shared.jobs.rules import NO_PUBLISHERS
from shared.protocol.messages import AnyFact, Assignment, TaskEnded
from shared.protocol.results.provenance import Resource
from shared.runtime.durable import boot_id


class Phase(enum.StrEnum):
    ACCEPTED = "accepted"
    """On disk: the task is about to be started, and may have been."""
    STARTED = "started"
    ENDED = "ended"
    """The task has ended and the result folder is complete."""
    PUBLISHED = "published"
    FAILED = "failed"
    CANCELLED = "cancelled"


_FINAL = frozenset({Phase.PUBLISHED, Phase.FAILED, Phase.CANCELLED})


class Happening(msgspec.Struct, frozen=True, kw_only=True):
    """A fact with the time of this machine's clock, seconds since 1970, at which it happened."""

    fact: AnyFact
    at: float


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """`boot_id` is the boot of the machine in which the result was written; empty if it has been synced.

    `warnings` and `left_out_count` are of what was found when the result was gathered. `accepted_at` is told where the
    job is traced, seconds since 1970.
    """

    assignment: Assignment
    phase: Phase
    happenings: tuple[Happening, ...] = ()
    process: ProcessMark | None = None
    warnings: tuple[str, ...] = ()
    left_out_count: int = 0
    boot_id: str = ""
    accepted_at: float = 0.0
    devices: tuple[str, ...] = ()
    """The GPUs that it has while it runs."""
    inputs: tuple[Resource, ...] = ()
    image: tuple[str, str] = ("", "")
    """What it reads, and its image with its id, as compute.engines.task_usage has them, since it was started."""
    schema: int = 1

    @property
    def execution_id(self) -> ExecutionId:
        return self.assignment.execution_id

    @property
    def publishes(self) -> bool:
        return self.assignment.task.publisher.type.lower() not in NO_PUBLISHERS

    @property
    def ended(self) -> tuple[int, float]:
        """The exit code of a task that has ended by itself, and when that was."""
        for each in reversed(self.happenings):
            if isinstance(each.fact, TaskEnded):
                return each.fact.output.exit_code, each.at
        raise RuntimeError("The task has not ended.")

    @property
    def is_final(self) -> bool:
        """Nothing is left to do but to tell the orchestrator, until it says that it knows."""
        return self.phase in _FINAL or (self.phase is Phase.ENDED and not self.publishes)


def new_entry(assignment: Assignment) -> Entry:
    return Entry(
        assignment=msgspec.structs.replace(assignment, archive=None, beside={}, secrets=b""),
        phase=Phase.ACCEPTED,
        boot_id=boot_id(),
        accepted_at=time.time() if assignment.traceparent else 0.0,
    )


def moved(entry: Entry, phase: Phase, fact: AnyFact) -> Entry:
    """The entry with what happens at this moment."""
    return msgspec.structs.replace(
        entry, phase=phase, happenings=(*entry.happenings, Happening(fact=fact, at=time.time()))
    )


encode_entry = msgspec.json.Encoder().encode
decode_entry = msgspec.json.Decoder(Entry).decode


class DamagedEntry(msgspec.Struct, frozen=True):
    """An entry that could not be read and was set aside."""

    execution_id: ExecutionId
    why: str
