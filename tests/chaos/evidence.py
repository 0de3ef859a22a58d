"""What can be seen from outside after the storm: through the API, in the bucket, on disks and among processes."""

import asyncio
import hashlib
import io
import os
import tarfile
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from compute.journal.file import FORGOTTEN, JournalFile
from shared.protocol.rest import execution_state_name
from shared.runtime.aio import pipelined
from tests.chaos.jobs import MARK, JobPlan, contents
from tests.chaos.load import JOBS, Client
from tests.chaos.schedule import NATS_SERVERS
from tests.chaos.stack import Stack
from tests.spares import is_empty_spare

AT_ONCE = 6
POLL_SECONDS = 1.0
PAGE = 500
OK, NOT_FOUND = 200, 404
TERMINAL = frozenset({"Completed", "Failed", "Stopped"})


class Execution(msgspec.Struct, frozen=True, kw_only=True):
    """`reason` is why it failed, by its code."""

    id: str
    partition: int
    state: str
    node: str = ""
    reason: str = ""
    key: str = ""
    sha256: str = ""
    size: int = 0

    @property
    def is_live(self) -> bool:
        return self.state not in {"Completed", "Failed", "Cancelled", "AskForBidRejected"}


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """`state` is empty for a job that nobody knows."""

    id: str
    state: str
    executions: tuple[Execution, ...] = ()
    history: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    """The nodes of an ops job."""


class Effect(NamedTuple):
    """What a task told itself."""

    what: str
    execution: str
    key: str
    pid: int
    at: int


async def wait_ended(client: Client, jobs: set[str], *, within: float, tell: Callable[[str], None]) -> set[str]:
    """Wait until all have ended; give those that have not in time."""
    left = set(jobs)

    async def look(job: str) -> None:
        answer = await client.ask_once("GET", client.ports[hash(job) % len(client.ports)], f"{JOBS}/{job}")
        ended = answer is not None and answer.status == OK and answer.body["Job"]["State"]["StateType"] in TERMINAL
        if ended or (answer is not None and answer.status == NOT_FOUND):
            left.discard(job)

    try:
        async with asyncio.timeout(within):
            while left:
                await pipelined(sorted(left), look, at_once=AT_ONCE)
                tell(f"{len(left)} jobs have not ended")
                await asyncio.sleep(POLL_SECONDS)
    except TimeoutError:
        pass
    return left


async def describe(client: Client, jobs: set[str]) -> dict[str, Job]:
    found: dict[str, Job] = {}

    async def look(job: str) -> None:
        answer = await client.ask(
            "GET",
            f"{JOBS}/{job}?include=history,executions",
            first=hash(job),
            what=lambda status: status in {OK, NOT_FOUND},
        )
        found[job] = _job(job, answer.body) if answer.status == OK else Job(id=job, state="")

    await pipelined(sorted(jobs), look, at_once=AT_ONCE)
    return found


def _job(job: str, body: dict[str, Any]) -> Job:
    history = body["History"]["Items"]
    reasons = {each["ExecutionID"]: each["Event"]["Details"].get("ErrorCode", "") for each in history if _is_bad(each)}
    return Job(
        id=job,
        state=body["Job"]["State"]["StateType"],
        executions=tuple(_execution(each, reasons) for each in body["Executions"]["Items"]),
        history=tuple(_line(each) for each in history),
        targets=tuple(body["Job"].get("Targets", ())),
    )


def _is_bad(item: dict[str, Any]) -> bool:
    return bool(item.get("ExecutionID")) and "ErrorCode" in (item["Event"].get("Details") or {})


def _line(item: dict[str, Any]) -> str:
    event = item["Event"]
    return f"{event['Timestamp']} {item.get('ExecutionID', '')[:12]} {event['Topic']}: {event['Message']}"


def _execution(view: dict[str, Any], reasons: dict[str, str]) -> Execution:
    state = view["ComputeState"]["StateType"]
    published = (view.get("PublishedResult") or {}).get("Params") or {}
    return Execution(
        id=view["ID"],
        partition=view.get("PartitionIndex", 0),
        state=execution_state_name(state),
        node=view["NodeID"],
        reason=reasons.get(view["ID"], ""),
        key=published.get("Key", ""),
        sha256=published.get("SHA256", ""),
        size=published.get("Size", 0),
    )


async def all_jobs(client: Client) -> set[str]:
    """The ids of all jobs that there are."""
    found: set[str] = set()
    token = ""
    while True:
        answer = await client.ask(
            "GET", f"{JOBS}?limit={PAGE}&next_token={token}", first=0, what=lambda status: status == OK
        )
        found |= {item["ID"] for item in answer.body["Items"]}
        token = answer.body.get("NextToken", "")
        if not token:
            return found


# ---- S3 ---------------------------------------------------------------------------------------------------------


def objects(stack: Stack) -> dict[str, int]:
    """The sizes of all objects of the bucket."""
    pages = stack.s3.client().get_paginator("list_objects_v2").paginate(Bucket=stack.bucket)
    return {item["Key"]: item["Size"] for page in pages for item in page.get("Contents", [])}


def unfinished_uploads(stack: Stack) -> dict[str, str]:
    """The keys of the objects of unfinished uploads, by the ids of these."""
    pages = stack.s3.client().get_paginator("list_multipart_uploads").paginate(Bucket=stack.bucket)
    return {item["UploadId"]: item["Key"] for page in pages for item in page.get("Uploads", [])}


def are_stored(stack: Stack, texts: Collection[str]) -> set[str]:
    """Which of these texts are in what the NATS servers have stored, as all that orchestrators know is."""
    found: set[str] = set()
    for name in NATS_SERVERS if texts else ():
        for file in (stack.root / name).rglob("*.blk"):
            content = file.read_bytes()
            found |= {text for text in texts if text.encode() in content}
    return found


class Bucket:
    """Downloads results with keys of its own and looks into them. Blocks."""

    def __init__(self, stack: Stack) -> None:
        self._client = stack.s3.client()
        self._bucket = stack.bucket

    def problem_of(self, plan: JobPlan, execution: Execution) -> str:
        """What is wrong with the result of this execution; empty if nothing is."""
        try:
            body = self._client.get_object(Bucket=self._bucket, Key=execution.key)["Body"].read()
        except self._client.exceptions.ClientError as error:
            return f"{execution.key} cannot be fetched: {error}"
        if len(body) != execution.size or hashlib.sha256(body).hexdigest() != execution.sha256:
            return f"{execution.key} is not the object that is recorded"
        try:
            found = dict(_files(body))
        except (tarfile.TarError, OSError, EOFError) as error:
            return f"{execution.key} cannot be read: {error!r}"
        wanted = contents(plan, execution.partition)
        wrong = sorted(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name))
        return f"{execution.key}: {', '.join(wrong)} are wrong or missing" if wrong else ""


def _files(archive: bytes) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
        for member in tar:
            if member.isfile():
                file = tar.extractfile(member)
                assert file is not None
                yield member.name.removeprefix("./"), file.read()


# ---- this machine -----------------------------------------------------------------------------------------------


def left_on_nodes(stack: Stack) -> list[str]:
    """What nodes have not forgotten: folders of executions, lines of their journals, damaged entries."""
    found = []
    for name in stack.computes:
        folder = stack.root / name / "compute"
        for part in ("executions", "damaged"):
            if (folder / part).is_dir():
                left = [each for each in (folder / part).iterdir() if not is_empty_spare(each)]
                found += [f"{name}/{part}/{each.name}" for each in left]
        last = {line.name: line.content for line in JournalFile(folder / "journal.jsonl").read()}
        found += [f"{name}/journal/{execution}" for execution in last if last[execution] != FORGOTTEN]
    return found


def processes_of_tasks(run: str) -> dict[int, str]:
    """The command lines of all processes that carry the mark of this run."""
    mark = f"{MARK}={run}".encode()
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            try:
                if mark in folder.joinpath("environ").read_bytes().split(b"\0"):
                    line = folder.joinpath("cmdline").read_bytes().replace(b"\0", b" ")
                    found[int(folder.name)] = line.decode(errors="replace").strip()
            except OSError:
                continue
    return found


def read_effects(file: Path) -> list[Effect]:
    if not file.exists():
        return []
    lines = (line.split() for line in file.read_text().splitlines())
    return [Effect(what, execution, key, int(pid), int(at)) for what, execution, key, pid, at in lines]
