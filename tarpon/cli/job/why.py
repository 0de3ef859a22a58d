"""The command `tarpon job why`: what a job waits for, with every node and what it lacks, or why it ended as it did."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from shared.data.plain_text import one_line
from shared.jobs.states import JobState
from tarpon.cli.console.commands import Command, with_client
from tarpon.cli.console.job_group import job_argument, namespace_option
from tarpon.cli.console.output import from_nanoseconds, in_local_time, moment, output_option, show, table

if TYPE_CHECKING:
    from shared.protocol.jobs.rest_waits import PartCounts, WaitsResponse
    from tarpon.client import Client

NOT_BEGUN = frozenset({JobState.PENDING, JobState.QUEUED})
_COUNTS = "it waits for no node: of "
"""How a summary begins that has the counts of the parts."""
ENDED = frozenset(state for state in JobState if state.is_terminal)


@click.command(cls=Command)
@job_argument
@namespace_option
@click.option("--limit", default=100, show_default=True, type=click.IntRange(0, 1000), help="How many nodes at most.")
@output_option
@with_client
async def why(client: "Client", *, job: str, namespace: str, limit: int, output: str) -> None:
    """Show what a job waits for: where its parts are, and what each node lacks for those that are on none.

    Of a job that has ended: how its parts have ended, and why.
    """
    found = await client.waits(job, namespace=namespace, limit=limit)
    show(found, output, lambda: "\n\n".join(_sections(found, datetime.now(UTC))))


def _sections(found: "WaitsResponse", now: datetime) -> Iterator[str]:
    state = f"Job {found.job_id}, version {found.job_version}: {found.state.state_type}"
    if found.state.state_type in ENDED:
        yield from _ended(found, state)
        return
    parts = [*_parts(found.parts, now)]
    is_said = bool(found.nodes_total or found.asks or (parts and found.summary.startswith(_COUNTS)))
    told = [] if is_said else [found.summary]
    notes = [in_local_time(each, now) for each in found.notes]
    yield "\n".join(map(one_line, [state, *told, *parts, *notes]))
    if found.asks:
        yield one_line(f"Each part asks for {found.asks}.") + "\n" + one_line(f"Nodes: {found.summary}.")
    if found.nodes:
        rows = [
            [each.node_id, each.standing, in_local_time("; ".join(each.lacks), now) or "nothing"]
            for each in found.nodes
        ]
        yield table(["NODE", "IS", "LACKS"], rows)
    if len(found.nodes) < found.nodes_total:
        yield f"and {found.nodes_total - len(found.nodes):,} more nodes"


def waiting(found: "WaitsResponse") -> str:
    """In one line, what a job waits for that is on no node yet, or none of whose parts is; else nothing."""
    if found.parts.to_place or found.state.state_type in NOT_BEGUN:
        return one_line(found.summary.removeprefix("it waits for no node: "))
    return ""


def _ended(found: "WaitsResponse", state: str) -> Iterator[str]:
    parts, reason = found.parts, found.state.message
    numbers = {
        "completed": parts.completed,
        "failed": parts.failed,
        "stopped": parts.stopped,
        "never begun": parts.never_begun,
        "to stop yet": parts.placed + parts.running + parts.publishing,
    }
    told = ", ".join(f"{number:,} {what}" for what, number in numbers.items() if number)
    counts = [f"{parts.total:,} {'part' if parts.total == 1 else 'parts'}: {told}"] if told else []
    reasons = [f"Why: {reason}"] if reason else []
    others = [f"Failed: {each}" for each in found.notes if not _is_told(each, reason)]
    yield "\n".join(map(one_line, [state, *reasons, *counts, *others]))
    if found.state.state_type != JobState.COMPLETED:
        yield f"`tarpon job describe {found.job_id}` has the details."


def _is_told(failure: str, reason: str) -> bool:
    _, _, detail = failure.partition(": ")
    return failure in reason or bool(detail and detail in reason)


def _parts(parts: "PartCounts", now: datetime) -> Iterator[str]:
    """In one line, where they are, if there are several or one of them waits after a failed attempt."""
    until = f" until {moment(from_nanoseconds(parts.delayed_until), now)}" if parts.delayed_until else ""
    numbers = {
        "to be placed": parts.to_place,
        "waiting for others to end (MaxParallel)": parts.held_back,
        f"waiting{until} for the next attempt": parts.delayed,
        "placed": parts.placed,
        "running": parts.running,
        "publishing": parts.publishing,
        "completed": parts.completed,
    }
    told = ", ".join(f"{number:,} {what}" for what, number in numbers.items() if number)
    if told and (parts.total > 1 or parts.delayed):
        yield f"{parts.total:,} parts: {told}" if parts.total > 1 else f"Its part: {told}"
