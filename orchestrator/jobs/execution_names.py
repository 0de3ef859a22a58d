"""Names of executions: which one of a job is meant, by its id or the beginning of one."""

from collections.abc import Iterable

from orchestrator.rules.records import ExecutionRecord
from shared.errors import InvalidInput
from shared.ids import ExecutionId


def named_execution(executions: Iterable[ExecutionRecord], text: str) -> ExecutionRecord | None:
    """Raises InvalidInput for the beginning of several ids."""
    found = {each.id: each for each in executions if each.id.startswith(text)}
    if ExecutionId(text) in found:
        return found[ExecutionId(text)]
    if len(found) > 1:
        raise InvalidInput(
            f"{text[:80]!r} is the beginning of {len(found)} executions' ids.", hint="Give more of the id."
        )
    return next(iter(found.values()), None)
