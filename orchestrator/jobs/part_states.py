"""States of all parts of a job, a letter for each, so that ten thousand of them are told in one short answer."""

from orchestrator.jobs.ended_parts import last_attempts
from orchestrator.state.job_entry import JobEntry
from shared.jobs.states import ExecutionState
from shared.protocol.jobs.rest_parts import PartState

_LETTERS = {
    ExecutionState.NEW: PartState.PLACED,
    ExecutionState.ACCEPTED: PartState.PLACED,
    ExecutionState.REJECTED: PartState.FAILED,
    ExecutionState.RUNNING: PartState.RUNNING,
    ExecutionState.PUBLISHING: PartState.PUBLISHING,
    ExecutionState.COMPLETED: PartState.COMPLETED,
    ExecutionState.FAILED: PartState.FAILED,
    ExecutionState.CANCELLED: PartState.STOPPED,
}


def part_states(entry: JobEntry, version: int) -> str:
    """Letters of `PartState`, the first for part 0, of this version of the job."""
    letters, going = [PartState.WAITING] * entry.part_count(version), set[int]()
    for each in last_attempts(entry, version):
        if not each.state.is_terminal:
            going.add(each.partition)
        if each.partition < len(letters):
            letters[each.partition] = _LETTERS[each.state]
    if version == entry.job.version:
        for partition, attempt in entry.progress.missing:
            if partition in going:  # another of its replicas
                continue
            letters[partition] = PartState.RETRYING if attempt else PartState.WAITING
    return "".join(letters)
