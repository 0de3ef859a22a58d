"""What must be true after all is over, whatever happened: a pure judgement of what was seen (no tests in here)."""

from collections.abc import Collection, Iterator, Mapping, Sequence

import msgspec

from shared.jobs.states import FailureReason
from shared.protocol.objects import archive_of
from tests.chaos.evidence import Effect, Execution, Job
from tests.chaos.jobs import RETRIES, JobPlan, Shape
from tests.chaos.task_runs import Runs, by_partition, overlaps

EXPLAINED = frozenset(
    {
        FailureReason.NODE_LOST,
        FailureReason.NODE_RESTARTED,
        FailureReason.NODE_GONE,
        FailureReason.DISK_FULL,
        "JournalNotWritten",
    }
)
"""Why an execution may fail, or be refused, because of the faults; if each attempt of a part did, the job may fail."""
COUNTS = ("lost", "wrong", "stuck", "orphans", "returned", "events")
"""What is counted; all of them have to be zero."""
LOST = frozenset({FailureReason.NODE_LOST, FailureReason.NODE_RESTARTED})
"""After which another attempt may begin although the first one's task may still run, on a node nobody hears of."""


class Violation(msgspec.Struct, frozen=True, kw_only=True):
    """`count` is the name of the number in the run's answer to which it belongs."""

    count: str
    what: str
    job: str = ""


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """`plans` and `jobs` are by the id of the job, `problems` of results by the id of the execution.

    `uploads` are the keys of the objects of unfinished uploads, by the ids of these. Of those ids `known_uploads` were
    stored by an orchestrator. Where the answer to the beginning of an upload is lost, nobody can know its id; what a
    life-cycle rule is documented for.
    """

    plans: Mapping[str, JobPlan]
    jobs: Mapping[str, Job]
    stopped: Collection[str]
    result_problems: Mapping[str, str]
    effects: Sequence[Effect]
    known_jobs: Collection[str]
    objects: Collection[str]
    uploads: Mapping[str, str] = {}
    known_uploads: Collection[str] = ()
    deleted_jobs: Collection[str] = ()
    returned: Collection[str] = ()
    """What was deleted, and was known when all NATS servers had been killed after the marks had gone."""
    refused: Sequence[str] = ()
    """Names that were free and could not be taken."""
    told_events: Mapping[str, Sequence[int]] = {}
    """The numbers of the events of some jobs, as readers got them that came back again and again."""
    recorded_events: Mapping[str, Sequence[int]] = {}
    left_on_nodes: Sequence[str] = ()
    processes: Mapping[int, str] = {}
    problems: Sequence[str] = ()
    """What processes and answers did that they must not."""


def violations(seen: Seen) -> Iterator[Violation]:
    runs = Runs(seen.effects)
    for job_id, plan in seen.plans.items():
        job = seen.jobs[job_id]
        if plan.shape is Shape.OPS:
            yield from _of_targets(job)
        yield from _of_state(job, plan, is_stopped=job_id in seen.stopped)
        yield from _of_retries(job, plan)
        yield from _of_results(job, plan, seen, runs)
        yield from _of_runs(job, runs)
    for job_id, told in seen.told_events.items():
        yield from _of_events(job_id, told, seen.recorded_events.get(job_id, ()))
    yield from _of_the_rest(seen)


def _of_events(job: str, told: Sequence[int], recorded: Sequence[int]) -> Iterator[Violation]:
    """Each event once and in order, up to the last that was told; a stream ends with its job, and leaves the rest."""
    repeated = len(told) - len(set(told))
    missing = {each for each in recorded if told and each <= told[-1]} - set(told)
    strange = set(told) - set(recorded)
    if repeated:
        yield Violation(count="events", what=f"{repeated} events were told twice", job=job)
    if missing:
        yield Violation(count="events", what=f"{len(missing)} events were not told: {sorted(missing)[:5]}", job=job)
    if strange:
        yield Violation(count="events", what=f"events are not known afterwards: {sorted(strange)[:5]}", job=job)
    if list(told) != sorted(told):
        yield Violation(count="events", what="events were told out of their order", job=job)


def _of_state(job: Job, plan: JobPlan, *, is_stopped: bool) -> Iterator[Violation]:
    if job.state == "":
        yield Violation(count="lost", what="an accepted job is unknown", job=job.id)
    elif job.state not in {"Completed", "Failed", "Stopped"}:
        yield Violation(count="stuck", what=f"a job is still {job.state}", job=job.id)
    elif any(each.is_live for each in job.executions):
        yield Violation(count="stuck", what="an execution of a job that has ended is live", job=job.id)
    elif is_stopped and job.state != "Stopped":
        yield Violation(count="wrong", what=f"a job that was stopped is {job.state}", job=job.id)
    elif not is_stopped and job.state == "Stopped" and plan.stop_after is None:
        yield Violation(count="wrong", what="a job is Stopped that nobody has stopped", job=job.id)
    elif job.state == "Failed" and not (is_explained(job) or has_used_up_retries(job, plan)):
        yield Violation(count="wrong", what="a job failed for a reason that no fault explains", job=job.id)


def with_parts(plan: JobPlan, job: Job) -> JobPlan:
    """With as many parts as an ops job has nodes."""
    return plan._replace(parts=len(job.targets)) if plan.shape is Shape.OPS else plan


def is_explained(job: Job) -> bool:
    """Whether each attempt of some part was lost to faults, of those that its task did not make fail by itself."""
    parts = ([one for one in each if not has_exited(one)] for each in by_partition(job).values())
    is_gone = any(each.reason == FailureReason.NODE_GONE for each in job.executions)  # before which it may hand back
    return is_gone or any(each and all(one.reason in EXPLAINED for one in each) for each in parts)


def has_exited(execution: Execution) -> bool:
    """Whether its task has failed by its exit code."""
    return execution.reason == FailureReason.NON_ZERO_EXIT_CODE


def has_used_up_retries(job: Job, plan: JobPlan) -> bool:
    counts = [sum(map(has_exited, each)) for each in by_partition(job).values()]
    return plan.shape is Shape.RETRIED and any(count > RETRIES for count in counts)


def _of_targets(job: Job) -> Iterator[Violation]:
    """Each part on its own node, and on each node one; what fails on one ends no other."""
    for each in job.executions:
        if each.partition >= len(job.targets) or each.node != job.targets[each.partition]:
            yield Violation(count="wrong", what=f"{each.id} is on {each.node}, which is not its node", job=job.id)
    if job.state in {"Completed", "Failed"} and set(by_partition(job)) != set(range(len(job.targets))):
        yield Violation(count="wrong", what="a node has not had its part", job=job.id)
    if job.state == "Failed" and any(each.state == "Cancelled" for each in job.executions):
        yield Violation(count="wrong", what="a part was stopped by the failure of another", job=job.id)


def _of_retries(job: Job, plan: JobPlan) -> Iterator[Violation]:
    """The exit code alone makes an execution fail where the job says so, and nowhere more often than it says."""
    most = RETRIES + 1 if plan.shape is Shape.RETRIED else 0
    for partition, executions in by_partition(job).items():
        exits = sum(map(has_exited, executions))
        if exits > most and (most or job.state != "Failed"):  # else that is wrong already
            yield Violation(count="wrong", what=f"part {partition} failed {exits} times by its exit code", job=job.id)
        if plan.shape is Shape.RETRIED and any(each.state == "Completed" for each in executions):
            yield Violation(count="wrong", what=f"part {partition} completed and ends with another code", job=job.id)


def _of_results(job: Job, plan: JobPlan, seen: Seen, runs: Runs) -> Iterator[Violation]:
    for partition, executions in by_partition(job).items():
        completed = [each for each in executions if each.state == "Completed"]
        if len(completed) > 1:
            yield Violation(count="wrong", what=f"part {partition} was completed {len(completed)} times", job=job.id)
        for each in (*completed, *filter(has_exited, executions)):
            problem = seen.result_problems.get(each.id, "")
            if problem and each.id not in runs.met_full_disk:
                yield Violation(count="wrong", what=problem, job=job.id)
    if job.state == "Completed":
        done = {each.partition for each in job.executions if each.state == "Completed"}
        if done != set(range(plan.parts)):
            yield Violation(count="wrong", what=f"the parts that are completed are {sorted(done)}", job=job.id)


# ---- what tasks told themselves -----------------------------------------------------------------------------------


def _of_runs(job: Job, runs: Runs) -> Iterator[Violation]:
    for each in job.executions:
        if runs.starts[each.id] > 1:
            yield Violation(count="wrong", what=f"the task of {each.id} began {runs.starts[each.id]} times", job=job.id)
        if each.state == "Completed" and each.id not in runs.ended:
            yield Violation(count="wrong", what=f"{each.id} is completed and its task did not end", job=job.id)
    for one, other in overlaps(job, runs):
        if not (one.reason in LOST or other.reason in LOST):
            yield Violation(count="wrong", what=f"{one.id} and {other.id} ran at the same time", job=job.id)


# ---- everything else ----------------------------------------------------------------------------------------------


def _of_the_rest(seen: Seen) -> Iterator[Violation]:
    for each in (*seen.returned, *sorted(set(seen.known_jobs) & set(seen.deleted_jobs))):
        yield Violation(count="returned", what=f"{each} was deleted and is there again")
    yield from (Violation(count="returned", what=each) for each in seen.refused)
    for job in sorted(set(seen.known_jobs) - set(seen.plans) - set(seen.deleted_jobs)):
        yield Violation(count="wrong", what="a job is known that nobody was told was accepted", job=job)
    executions = {each.id for job in seen.jobs.values() for each in job.executions}
    for each in sorted({effect.execution for effect in seen.effects} - executions):
        yield Violation(count="wrong", what=f"a task ran for {each}, which is no execution")
    for key in seen.objects:
        if _execution_of(key) not in executions and not key.endswith(".tarpon-probe"):
            yield Violation(count="orphans", what=f"the object {key} belongs to no execution")
    for upload, key in seen.uploads.items():
        if upload in seen.known_uploads:
            yield Violation(count="orphans", what=f"an upload of {key} was left unfinished")
    yield from (Violation(count="orphans", what=f"a node has left {each}") for each in seen.left_on_nodes)
    for pid, line in seen.processes.items():
        yield Violation(count="orphans", what=f"process {pid} of a task is left: {line}")
    yield from (Violation(count="wrong", what=each) for each in seen.problems)


def _execution_of(key: str) -> str:
    return archive_of(key).rpartition("/")[2].removesuffix(".tar.gz")


def unreferenced(seen: Seen) -> list[str]:
    """Objects of executions that did not complete: legitimate, because a node can only PUT, but worth a number."""
    completed = {each.id for job in seen.jobs.values() for each in job.executions if each.state == "Completed"}
    return [key for key in seen.objects if _execution_of(key) not in completed and not key.endswith(".tarpon-probe")]
