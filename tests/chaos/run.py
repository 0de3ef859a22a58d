"""One chaos run from its beginning to its judgement (no tests in here)."""

import asyncio
import contextlib
import os
import signal
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
from msgspec.structs import replace

from shared.runtime.aio import background
from tests.chaos import evidence
from tests.chaos.alone import MARK_SECONDS as ALONE_MARK_SECONDS
from tests.chaos.alone import Alone
from tests.chaos.churn import Churn, kill_all_nats
from tests.chaos.event_readers import EventReaders, recorded
from tests.chaos.evidence import Execution
from tests.chaos.faults import Faults, Happened
from tests.chaos.hostility import Hostility
from tests.chaos.invariants import COUNTS, Seen, Violation, has_exited, unreferenced, violations, with_parts
from tests.chaos.jobs import JobPlan
from tests.chaos.load import Client, Load
from tests.chaos.schedule import Fault
from tests.chaos.stack import Stack, running
from tests.chaos.task_runs import Runs, overlaps
from tests.servers import S3Server
from tests.waiting import eventually

ACCEPT_SECONDS = 60.0
"""How long after the last fault a careful user may have to try until the last job is accepted."""
SETTLE_SECONDS = 300.0
TIDY_SECONDS = 90.0
"""Nodes forget an execution at the receipt, which comes again with the registration, every minute."""
PROGRESS_SECONDS = 10.0


class Outcome(NamedTuple):
    numbers: dict[str, Any]
    violations: list[Violation]
    seen: Seen
    timeline: list[Happened]


class Run:
    """`root` keeps everything that the run leaves; `tell` is for who watches."""

    def __init__(
        self,
        root: Path,
        s3: S3Server,
        faults: tuple[Fault, ...],
        jobs: tuple[JobPlan, ...],
        *,
        seed: int,
        nodes: int,
        hostile_seconds: float,
        honest_seconds: float,
        tell: Callable[[str], None],
    ) -> None:
        self.id = f"chaos-{uuid.uuid4().hex[:12]}"
        self.root = root
        self.timeline: list[Happened] = []
        self._s3 = s3
        self._plan, self._jobs = faults, jobs
        self._seed, self._nodes = seed, nodes
        self._hostile_seconds, self._honest_seconds = hostile_seconds, honest_seconds
        self._tell = tell

    async def carry_out(self) -> Outcome:
        effects = self.root / "effects"
        stack_folder = self.root / "stack"
        stack_folder.mkdir()
        try:
            longest = max((each.seconds for each in self._plan), default=0.0)
            async with (
                running(stack_folder, self._s3, nodes=self._nodes, longest_fault=longest) as stack,
                aiohttp.ClientSession() as http,
            ):
                self._tell("everything is up")
                client = Client(stack, http)
                faults = Faults(stack, self._tell, seed=self._seed)
                self.timeline = faults.timeline
                load = Load(client, run=self.id, effects=effects)
                secret = stack_folder / "shared" / "secrets" / "join.secret"
                churn = Churn(stack, client, run=self.id, secret_file=secret, mark_seconds=stack.mark_seconds)
                hostility, alone = Hostility(stack, client), _Alone(self.root, http, run=self.id)
                readers = EventReaders(client, http, load, seed=self._seed)
                async with background(readers=readers.run()):
                    with alone.server.running():
                        await self._storm(faults, load, churn, hostility, alone)
                        more = await alone.look()
                    seen = await self._look(stack, client, load, faults, churn)
                seen = replace(seen, returned=(*seen.returned, *more), refused=(*seen.refused, *alone.churn.refused))
                events = {job: await recorded(client, job) for job in readers.told}
                seen = replace(seen, told_events=readers.told, recorded_events=events)
                self._tell(f"{sum(map(len, events.values()))} events of {len(events)} jobs were read")
                if self._hostile_seconds:
                    self._tell("measuring honest jobs beside a node that floods")
                    await hostility.measure(self._hostile_seconds)
                seen = _with_problems(seen, await asyncio.to_thread(_stop, stack))
        finally:
            _end(evidence.processes_of_tasks(self.id))
        outcome = self._judge(seen, faults, load, churn.rounds + alone.churn.rounds)
        return outcome._replace(numbers=outcome.numbers | hostility.numbers(self._honest_seconds))

    async def _storm(self, faults: Faults, load: Load, churn: Churn, hostility: Hostility, alone: "_Alone") -> None:
        async def tell_progress() -> None:
            while True:
                await asyncio.sleep(PROGRESS_SECONDS)
                self._tell(f"{len(faults.done)} of {len(self._plan)} faults, {len(load.accepted)} jobs accepted")

        floods = {"floods": hostility.flood()} if self._hostile_seconds else {}
        async with background(watch=faults.watch(), progress=tell_progress(), **floods):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._seconds + ACCEPT_SECONDS), asyncio.TaskGroup() as group:
                    group.create_task(faults.follow(self._plan), name="faults")
                    group.create_task(load.submit_all(self._jobs), name="load")
                    group.create_task(churn.run(self._seconds), name="churn")
                    group.create_task(alone.storm(self._seconds), name="alone")
        self._tell("the storm is over")

    @property
    def _seconds(self) -> float:
        return max([0.0, *(each.until for each in self._plan), *(each.at for each in self._jobs)])

    # ---- what is seen afterwards ------------------------------------------------------------------------------------

    async def _look(self, stack: Stack, client: Client, load: Load, faults: Faults, churn: Churn) -> Seen:
        jobs = set(load.accepted.values())
        begun = time.monotonic()
        async with background(watch=faults.watch()):
            await evidence.wait_ended(client, jobs, within=SETTLE_SECONDS, tell=self._tell)
            self._tell(f"settled after {time.monotonic() - begun:.1f} s")
            await churn.take_each_name()
            await churn.until_marks_are_gone()
            await asyncio.to_thread(kill_all_nats, stack, faults)
            self._tell("all NATS servers were killed once more")
            returned = await churn.returned()
            await churn.take_each_name()
            with contextlib.suppress(AssertionError):
                await eventually(lambda: not evidence.left_on_nodes(stack), within=TIDY_SECONDS)
            with contextlib.suppress(AssertionError):
                await eventually(lambda: not evidence.processes_of_tasks(self.id), within=TIDY_SECONDS / 3)
            described = await evidence.describe(client, jobs)
            known = await evidence.all_jobs(client)
        accepted = {load.accepted[plan.number]: plan for plan in self._jobs if plan.number in load.accepted}
        plans = {job: with_parts(plan, described[job]) for job, plan in accepted.items()}
        completed = [(plans[job.id], each) for job in described.values() for each in job.executions if _is_done(each)]
        self._tell(f"looking into {len(completed)} results")
        uploads = await asyncio.to_thread(evidence.unfinished_uploads, stack)
        return Seen(
            plans=plans,
            jobs=described,
            stopped={load.accepted[number] for number in load.stopped},
            result_problems=await asyncio.to_thread(_results, stack, completed),
            effects=evidence.read_effects(self.root / "effects"),
            known_jobs=known,
            objects=await asyncio.to_thread(evidence.objects, stack),
            uploads=uploads,
            known_uploads=await asyncio.to_thread(evidence.are_stored, stack, uploads),
            left_on_nodes=evidence.left_on_nodes(stack),
            processes=evidence.processes_of_tasks(self.id),
            deleted_jobs=churn.deleted_jobs,
            returned=returned,
            refused=churn.refused,
            problems=(*load.problems, *faults.problems, *_never_accepted(self._jobs, load)),
        )

    def _judge(self, seen: Seen, faults: Faults, load: Load, deletions: int) -> Outcome:
        found = list(violations(seen))
        counts = Counter(each.count for each in found)
        states = Counter(job.state for job in seen.jobs.values())
        runs = Runs(seen.effects)
        executions = [each for job in seen.jobs.values() for each in job.executions]
        numbers: dict[str, Any] = {
            "seed": self._seed,
            "faults": len(faults.done),
            "faults_planned": len(self._plan),
            "faults_left_out": faults.left_out,
            "jobs": len(load.accepted),
            "completed": states["Completed"],
            "failed": states["Failed"],
            "stopped": states["Stopped"],
            **{name: counts[name] for name in COUNTS},
            "executions": len(executions),
            "deletions": deletions,
            "overlaps": sum(len(overlaps(job, runs)) for job in seen.jobs.values()),
            "repeated_submissions": load.repeated,
            "unreferenced_objects": len(unreferenced(seen)),
            "tasks_that_met_a_full_disk": len(runs.met_full_disk),
            "unknown_uploads": len(set(seen.uploads) - set(seen.known_uploads)),
            "services_ended_by_themselves": faults.exits,
            "failures_by_reason": dict(Counter(each.reason for each in executions if each.reason)),
            "faults_by_kind": dict(sorted(Counter(each.kind.value for each in faults.done).items())),
        }
        return Outcome(numbers, found, seen, faults.timeline)


class _Alone:
    """Deletions on a NATS server that is alone, and is killed again and again."""

    def __init__(self, root: Path, http: aiohttp.ClientSession, *, run: str) -> None:
        self.server = Alone(root)
        client = Client(self.server, http)
        secret = self.server.secret_file
        self.churn = Churn(self.server, client, run=run, secret_file=secret, mark_seconds=ALONE_MARK_SECONDS)

    async def storm(self, seconds: float) -> None:
        await self.churn.keep_one()
        async with background(kills=self.server.kill_again_and_again()):
            await self.churn.run(seconds)

    async def look(self) -> list[str]:
        """What has returned after one more kill."""
        await self.churn.take_each_name()
        await self.churn.until_marks_are_gone()
        await asyncio.to_thread(self.server.kill_both)
        returned = await self.churn.returned()
        await self.churn.take_each_name()
        return returned


def _is_done(execution: Execution) -> bool:
    return execution.state == "Completed" or (has_exited(execution) and bool(execution.key))


def _results(stack: Stack, completed: list[tuple[JobPlan, Execution]]) -> dict[str, str]:
    bucket = evidence.Bucket(stack)
    problems = ((execution.id, bucket.problem_of(plan, execution)) for plan, execution in completed)
    return {execution: problem for execution, problem in problems if problem}


def _never_accepted(jobs: tuple[JobPlan, ...], load: Load) -> Iterator[str]:
    refused = {int(problem.split()[1]) for problem in load.problems if problem.startswith("job ")}
    for plan in jobs:
        if plan.number not in load.accepted and plan.number not in refused:
            yield f"job {plan.number} was not accepted by anybody"


def _with_problems(seen: Seen, more: list[str]) -> Seen:
    return replace(seen, problems=(*seen.problems, *more))


def _stop(stack: Stack) -> list[str]:
    """Stop all in good order, which also looks for credentials that were left anywhere."""
    try:
        stack.stop()
    except AssertionError as error:
        return [f"at the end: {error}"]
    return []


def _end(processes: dict[int, str]) -> None:
    for pid in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
