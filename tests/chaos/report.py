"""What is printed of violations, so that they can be investigated (no tests in here)."""

from collections.abc import Iterator
from pathlib import Path

from tests.chaos.run import Outcome

MOST_VIOLATIONS = 12
LOG_LINES = 40
MOST_LINE = 400


def report(outcome: Outcome, root: Path) -> Iterator[str]:
    for violation in outcome.violations[:MOST_VIOLATIONS]:
        yield f"---- {violation.count}: {violation.what} (job {violation.job or 'none'})"
        if job := outcome.seen.jobs.get(violation.job):
            yield f"planned: {outcome.seen.plans.get(job.id)}"
            yield from (f"  {each}" for each in job.executions)
            yield from (f"  {line}" for line in job.history)
            ids = {each.id for each in job.executions}
            yield from (f"  told: {each}" for each in outcome.seen.effects if each.execution in ids)
            yield from _log_lines(root, {job.id, *ids})
    if len(outcome.violations) > MOST_VIOLATIONS:
        yield f"---- and {len(outcome.violations) - MOST_VIOLATIONS} more"
    if outcome.violations:
        yield "---- the timeline"
        yield from (f"{each.at:9.2f} {each.what[:MOST_LINE]}" for each in outcome.timeline)
        yield f"everything is kept in {root}"


def _log_lines(root: Path, ids: set[str]) -> Iterator[str]:
    """The last lines of all logs that name the job or one of its executions."""
    for log in sorted(root.glob("stack/*.log")):
        with log.open(errors="replace") as file:
            found = [line.rstrip() for line in file if any(each in line for each in ids)]
        yield from (f"  {log.name}: {line[:MOST_LINE]}" for line in found[-LOG_LINES:])
