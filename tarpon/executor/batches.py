"""One batch of calls: sent, run as the parts of one job, and what came of each read as data."""

import asyncio
import contextlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import msgspec

from shared.errors import NotFound, TarponError
from shared.jobs.spec import JobView
from shared.runtime.aio import finish, pipelined
from tarpon.archive.contents import Contents
from tarpon.archive.links import file_at
from tarpon.client import Client
from tarpon.executor.packing import PROGRAM, PYTHON, PackedCall, write_batch
from tarpon.executor.problems import CallLost, OtherPython, ValueInvalid, ValueNotData, raised_there
from tarpon.executor.reading import NotAValue, Reader
from tarpon.executor.told import RaisedThere, ToldCall, long_value, names_beside, parsed, told_of
from tarpon.results.fetch_job import get_results
from tarpon.results.files import contents_of

MOST_LINE_BYTES, MORE_FOR_EACH = 64 << 20, 8 << 10
"""Of what all calls of one part tell in their lines: so much, and so much for each."""
MOST_LONG_VALUE_BYTES = 256 << 20
"""Of a value without what lies beside it."""
MOST_VALUE_BYTES = 4 << 30
"""Of all that lies beside a value, where it is brought into memory."""
INLINE_BYTES = 64 << 10
"""What is longer is read in a thread."""
PARTS_AT_ONCE = 4
MOST_PROBLEM_BYTES = 64 << 10
SUBMIT_SECONDS, FORGET_SECONDS = 60.0, 15.0
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

    told: ToldCall | None = None
    error: TarponError | None = None


class Batch:
    """`parts` is among how many parts of the job the calls are divided, in turn."""

    def __init__(self, client: Client, wanted: WantedRun, calls: Sequence[PackedCall], parts: int) -> None:
        self.job_id = ""
        self._client = client
        self._wanted = wanted
        self._calls: Sequence[PackedCall] = calls
        self._count = len(calls)
        self._parts = max(1, min(parts, len(calls)))
        self._sent = ""

    def __repr__(self) -> str:
        return f"<Batch of {self._count} calls, {self.job_id or 'not submitted'}>"

    async def run(self) -> list[CallOutcome]:
        """One for each call, in their order. What was sent is deleted at the end. Raises what a client raises.

        Where it is cancelled, `job_id` is that of the job, if there is one.
        """
        job: JobView | None = None
        try:
            await self._send()
            await finish(self._submit(), within=SUBMIT_SECONDS)
            job = await self._client.wait(self.job_id, namespace=self._wanted.namespace)
        finally:
            with contextlib.suppress(TarponError, TimeoutError):  # else it goes when it is old
                await finish(self._end(goes_on=job is None), within=FORGET_SECONDS)
        outcomes = [CallOutcome() for _ in range(self._count)]
        await pipelined(range(self._parts), lambda part: self._read_part(part, job, outcomes), at_once=PARTS_AT_ONCE)
        for each in outcomes:
            if each.told is None and each.error is None:
                each.error = CallLost(self.job_id, job.state.message)
        return outcomes

    async def _send(self) -> None:
        with tempfile.TemporaryDirectory(prefix="tarpon-calls-") as folder:
            await asyncio.to_thread(write_batch, Path(folder), self._calls, pickles=self._wanted.trust_nodes)
            self._calls = ()  # those that have a value of it yet need no arguments
            self._sent = (await self._client.put_data(folder, namespace=self._wanted.namespace)).data.digest

    async def _submit(self) -> None:
        self.job_id = (await self._client.submit(_job(self._wanted, self._sent, self._parts))).job_id

    async def _end(self, *, goes_on: bool) -> None:
        """A job that goes on, because nobody waits for it any more, is stopped."""
        if goes_on and self.job_id:
            reason = "The executor was shut down."
            await self._client.stop(self.job_id, reason=reason, namespace=self._wanted.namespace)
        if self._sent:
            await self._client.delete_data(self._sent, namespace=self._wanted.namespace)

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
        most = MOST_LINE_BYTES + MORE_FOR_EACH * (self._count // self._parts + 1)
        content = await _content(contents, f"{OUTPUTS}/values.jsonl", most)
        for number, told in (await asyncio.to_thread(told_of, content, range(part, self._count, self._parts))).items():
            outcomes[number].told = told

    def is_large(self, number: int, outcome: CallOutcome) -> bool:
        """Whether a part of its value has yet to be fetched."""
        told = outcome.told
        if told is None or told.error is not None or outcome.error is not None:
            return False
        with contextlib.suppress(ValueError, RecursionError):
            return bool(names_beside(parsed(told.value), number))
        return False

    async def value(self, number: int, outcome: CallOutcome) -> Any:
        """What the call returned. Raises what it raised, and what is in tarpon/executor/problems.py."""
        if outcome.error is not None:
            raise outcome.error
        told = outcome.told
        assert told is not None
        if told.not_data is not None:
            raise ValueNotData(told.not_data)
        if told.error is not None:
            raise await self._raised(told.error)
        value, beside = await self._asked(number, told.value)
        return await self._read(told.value, value, beside)

    async def _raised(self, error: RaisedThere) -> BaseException:
        try:
            arguments = await self._read(error.arguments, parsed(error.arguments), {})
        except (ValueInvalid, ValueError, RecursionError):
            arguments = None
        return raised_there(error, arguments if isinstance(arguments, list) else None)

    async def _read(self, raw: msgspec.Raw, told: Any, beside: dict[str, bytes]) -> Any:
        reader = Reader(beside, pickles=self._wanted.trust_nodes)
        try:
            if beside or len(bytes(raw)) > INLINE_BYTES:
                return await asyncio.to_thread(reader.read, told)
            return reader.read(told)
        except NotAValue as error:
            raise ValueInvalid(self.job_id, str(error)) from None

    async def _asked(self, number: int, raw: msgspec.Raw) -> tuple[Any, dict[str, bytes]]:
        """A value and the files beside it, which are fetched only now. Raises ValueInvalid."""
        try:
            told = parsed(raw)
            if not (names := names_beside(told, number)):
                return told, {}
            async with self._contents(number % self._parts) as contents:
                if long := long_value(told, number):
                    content = await _content(contents, f"{OUTPUTS}/{long}", MOST_LONG_VALUE_BYTES)
                    told = await asyncio.to_thread(parsed, content)
                    names = names_beside(told, number)
                return told, await self._beside(contents, names)
        except (ValueError, RecursionError) as error:
            raise ValueInvalid(self.job_id, f"{type(error).__name__}: {error}"[:300]) from None

    async def _beside(self, contents: Contents, names: list[str]) -> dict[str, bytes]:
        left, found = MOST_VALUE_BYTES, dict[str, bytes]()
        for name in names:
            found[name] = await _content(contents, f"{OUTPUTS}/{name}", left)
            left -= len(found[name])
        return found

    async def fetch_value(self, number: int, folder: Path) -> list[Path]:
        """Download the files of a large value. Raises what get_results raises."""
        await self.fetch([f"{OUTPUTS}/values/{number}-*"], number, folder)
        return await asyncio.to_thread(lambda: sorted((folder / OUTPUTS / "values").glob(f"{number}-*")))

    async def fetch(self, paths: list[str], number: int, folder: Path) -> None:
        await get_results(
            self._client,
            self.job_id,
            paths=paths,
            output_dir=folder,
            partition=number % self._parts,
            namespace=self._wanted.namespace,
        )


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
        told = json.loads(await _content(contents, f"{OUTPUTS}/problem.json", MOST_PROBLEM_BYTES))
        return ".".join(str(number)[:8] for number in told["python"][:3])
    except NotFound:
        return None
    except (ValueError, TypeError, LookupError, RecursionError, ValueInvalid):  # a node has made it up
        return "(it does not say which)"


async def _content(contents: Contents, path: str, most_bytes: int) -> bytes:
    """Raises NotFound where it is not there."""
    file = await file_at(contents, path, "")
    if file.size_bytes > most_bytes:
        raise ValueInvalid("", f"{path} has {file.size_bytes:,} bytes.")
    (reader,) = await contents.part_readers([file])
    try:
        return await reader.read(0, file.size_bytes)
    finally:
        reader.close()
