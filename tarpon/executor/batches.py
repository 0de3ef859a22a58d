"""One batch of calls: sent, run as the parts of one job, and what came of each read as data."""

import asyncio
import json
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import msgspec

from shared.errors import NotFound, TarponError
from shared.jobs.spec import JobView
from shared.runtime.aio import pipelined
from tarpon.archive.contents import Contents
from tarpon.archive.links import file_at
from tarpon.client import Client
from tarpon.executor.packing import PROGRAM, PYTHON, PackedCall, write_batch
from tarpon.executor.problems import CallLost, OtherPython, ValueInvalid, ValueNotData, raised_there
from tarpon.executor.remote.values import FILE_TAGS, NotAValue, Reader
from tarpon.results.files import contents_of

MOST_LINE_BYTES = 64 << 20
"""Of what all calls of one part tell beside their large values."""
MOST_VALUE_BYTES = 4 << 30
PARTS_AT_ONCE = 4
OUTPUTS = "outputs"


class WantedRun(msgspec.Struct, frozen=True, kw_only=True):
    """How calls are run. `job` and `task` are what goes into the job and its task beside that, as in a job file."""

    python: str = "python3"
    image: str = ""
    trust_nodes: bool = False
    namespace: str = ""
    job: Mapping[str, Any] = msgspec.field(default_factory=dict)
    task: Mapping[str, Any] = msgspec.field(default_factory=dict)


class CallOutcome(msgspec.Struct, kw_only=True):
    """What came of one call: `told` is its line, None where there is none, and `error` says why there is none."""

    told: Any = None
    error: TarponError | None = None
    execution_id: str = ""


class Batch:
    """`parts` is among how many parts of the job the calls are divided, in turn."""

    def __init__(self, client: Client, wanted: WantedRun, calls: Sequence[PackedCall], parts: int) -> None:
        self.job_id = ""
        self._client = client
        self._wanted = wanted
        self._calls = calls
        self._parts = max(1, min(parts, len(calls)))

    def __repr__(self) -> str:
        return f"<Batch of {len(self._calls)} calls, {self.job_id or 'not submitted'}>"

    async def run(self) -> list[CallOutcome]:
        """One for each call, in their order. Raises what a client raises."""
        digest = await self._send()
        submitted = await self._client.submit(_job(self._wanted, digest, self._parts))
        self.job_id = submitted.job_id
        job = await self._client.wait(self.job_id, namespace=self._wanted.namespace)
        outcomes = [CallOutcome() for _ in self._calls]
        await pipelined(range(self._parts), lambda part: self._read_part(part, job, outcomes), at_once=PARTS_AT_ONCE)
        for each in outcomes:
            if each.told is None and each.error is None:
                each.error = CallLost(self.job_id, job.state.message)
        return outcomes

    async def _send(self) -> str:
        with tempfile.TemporaryDirectory(prefix="tarpon-calls-") as folder:
            await asyncio.to_thread(write_batch, Path(folder), self._calls, pickles=self._wanted.trust_nodes)
            sent = await self._client.put_data(folder, namespace=self._wanted.namespace)
        return sent.data.digest

    async def _read_part(self, part: int, job: JobView, outcomes: list[CallOutcome]) -> None:
        """A part reads what came of its own calls, whatever its node tells of others."""
        mine = outcomes[part :: self._parts]
        try:
            async with self._contents(part) as contents:
                await self._read_lines(contents, part, outcomes)
        except OtherPython as error:
            for each in mine:
                each.error = error
        except TarponError as error:
            why = error.message
            for each in mine:
                if each.told is None:
                    each.error = CallLost(self.job_id, job.state.message or why)

    def _contents(self, part: int) -> AbstractAsyncContextManager[Contents]:
        namespace = self._wanted.namespace
        return contents_of(self._client, self.job_id, partition=part, execution="", version=1, namespace=namespace)

    async def _read_lines(self, contents: Contents, part: int, outcomes: list[CallOutcome]) -> None:
        """Raises OtherPython, and what reading a file raises."""
        if (there := await _other_python(contents)) is not None:
            raise OtherPython(".".join(map(str, PYTHON)), there)
        content = await _content(contents, f"{OUTPUTS}/values.jsonl", MOST_LINE_BYTES)
        for line in content.splitlines():
            told = _line(line)
            if told is not None and 0 <= told["call"] < len(outcomes) and told["call"] % self._parts == part:
                outcomes[told["call"]].told = told

    def part_of(self, number: int) -> int:
        return number % self._parts

    def is_large(self, outcome: CallOutcome) -> bool:
        return outcome.told is not None and bool(_names(_asked(outcome.told)))

    async def value(self, number: int, outcome: CallOutcome) -> Any:
        """What the call returned. Raises what it raised, and what is in tarpon/executor/problems.py."""
        if outcome.error is not None:
            raise outcome.error
        told = outcome.told
        if "not_data" in told:
            raise ValueNotData(str(told["not_data"])[:300])
        is_error, asked = "error" in told, _asked(told)
        beside = await self._beside(number, _names(asked))
        reader = Reader(lambda name: beside[name], pickles=self._wanted.trust_nodes)
        try:
            value = await asyncio.to_thread(reader.read, asked)
        except NotAValue as error:
            if not is_error:
                raise ValueInvalid(self.job_id, str(error)) from None
            value = None
        if is_error:
            raise raised_there(told["error"], value)
        return value

    async def _beside(self, number: int, names: list[str]) -> dict[str, bytes]:
        """Of a large value its files, which are fetched only now. A name that is another call's is not its own."""
        names = [name for name in names if name.startswith(f"values/{number}-")]
        if not names:
            return {}
        async with self._contents(self.part_of(number)) as contents:
            return {name: await _content(contents, f"{OUTPUTS}/{name}", MOST_VALUE_BYTES) for name in names}


def _job(wanted: WantedRun, digest: str, parts: int) -> dict[str, Any]:
    engine: dict[str, Any]
    if wanted.image:
        command = [wanted.python, f"/calls/{PROGRAM}", f"/{OUTPUTS}"]
        engine = {"Type": "docker", "Params": {"Image": wanted.image, "Entrypoint": command}}
    else:
        engine = {"Type": "process", "Params": {"Entrypoint": [wanted.python, f"calls/{PROGRAM}", OUTPUTS]}}
    task = {
        "Name": "calls",
        "Engine": engine,
        "Publisher": {"Type": "s3managed"},
        "InputSources": [{"Source": {"Type": "upload", "Params": {"Data": digest}}, "Target": "/calls"}],
        "ResultPaths": [{"Name": OUTPUTS, "Path": f"/{OUTPUTS}"}],
        **wanted.task,
    }
    namespace = {"Namespace": wanted.namespace} if wanted.namespace else {}
    return {"Type": "batch", "Count": parts, "Tasks": [task], **namespace, **wanted.job}


async def _other_python(contents: Contents) -> str | None:
    """The version there, where it is another and nothing was run."""
    try:
        told = json.loads(await _content(contents, f"{OUTPUTS}/problem.json", MOST_LINE_BYTES))
        return ".".join(str(number)[:8] for number in told["python"][:3])
    except NotFound:
        return None
    except (ValueError, TypeError, LookupError, RecursionError):  # a node has made it up
        return "(it does not say which)"


async def _content(contents: Contents, path: str, most_bytes: int) -> bytes:
    """Raises NotFound where it is not there."""
    file = await file_at(contents, path, "")
    if file.size_bytes > most_bytes:
        raise ValueInvalid("", f"{path} has {file.size_bytes:,} bytes.")
    reader = await contents.part_reader(file)
    try:
        return await reader.read(0, file.size_bytes)
    finally:
        reader.close()


def _line(line: bytes) -> Any:
    """None for what is none."""
    try:
        told = json.loads(line)
    except (ValueError, RecursionError):
        return None
    is_one = isinstance(told, dict) and type(told.get("call")) is int
    is_one = is_one and (isinstance(told.get("error", {}), dict))
    return told if is_one and ({"value", "not_data"} & told.keys() or _is_error(told.get("error"))) else None


def _is_error(told: Any) -> bool:
    return isinstance(told, dict) and {"type", "module", "text", "traceback"} <= told.keys()


def _asked(told: Any) -> Any:
    return told["error"].get("arguments") if "error" in told else told.get("value")


def _names(told: Any) -> list[str]:
    """Those of files in a value, which may be nested."""
    found, left = [], [told]
    while left:
        each = left.pop()
        if isinstance(each, list):
            left += each
        elif isinstance(each, dict):
            for tag, held in each.items():
                if tag in FILE_TAGS and isinstance(held, str):
                    found.append(held)
                else:
                    left.append(held)
    return found
