"""Grants of inputs: which objects a node may read, by URLs that are signed when it asks for them.

A node is given what the executions that it holds read, and nothing else: neither the share of another part, nor what
another version of the job reads. What it says about itself, and about S3, counts for nothing that it could gain by.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from weakref import WeakValueDictionary

from msgspec.structs import replace

from orchestrator.admission.bounds.allowance import Allowance
from orchestrator.audit.events import AuditEvent
from orchestrator.audit.recorder import Audit, AuditUnwritable
from orchestrator.inputs.contents import content_of, content_of_list
from orchestrator.inputs.problems import named
from orchestrator.inputs.shares import InputShares, ReadObject, SourceShare
from orchestrator.rules.frozen_inputs import FrozenObject
from orchestrator.rules.records import ExecutionRecord
from orchestrator.s3.locations import Locations
from orchestrator.s3.lookups import NotShown
from orchestrator.s3.problems import ProblemCode, explain_failure
from orchestrator.s3.signed_events import place, places, refused_to_node, signed_for_node
from orchestrator.state.model import Model
from shared.errors import Damaged, GrantRefused, StorageUnavailable
from shared.ids import ExecutionId, NodeId
from shared.protocol.messages import RequestRefused
from shared.protocol.nodes.inputs import MAX_FILES_AT_ONCE, InputFile, InputIndex, InputList, InputsGiven, InputsRequest
from shared.protocol.objects import index_key
from shared.protocol.s3_errors import is_of_keys
from shared.protocol.signed_url import SignedUrl

URLS_PER_SECOND = 5000.0
"""Of one node, and at once of one that was silent before as many as some executions read."""
URLS_AT_ONCE = 50_000.0
MAX_ANSWER_CHARACTERS = 512 * 1024
"""Of URLs and paths in one answer; a message has twice as much room."""
CONFIRM_SECONDS = 8.0
"""For the look by which it is found out whose fault a refusal is. A node asks again after 10 s."""
CONFIRMED_SECONDS = 1.0
"""For how long nobody looks again at an object that could be read."""
MOST_CONFIRMED = 1024


class InputsAskedTooOften(GrantRefused):
    retryable = True

    def __init__(self, node: str) -> None:
        super().__init__(f"Node {node} asks for more inputs than it could read.", hint="It is given more in a moment.")


class InputGone(GrantRefused):
    def __init__(self, place: str, why: str) -> None:
        super().__init__(
            f"The input {place} cannot be read any more: {why}.",
            hint="Submit the job again, by which its inputs are looked up anew.",
        )


class InputGrants:
    """`clock` gives monotonic seconds."""

    def __init__(
        self,
        model: Model,
        locations: Locations,
        shares: InputShares,
        audit: Audit,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._audit = audit
        self._model = model
        self._locations = locations
        self._shares = shares
        self._clock = clock
        self._allowance = Allowance(URLS_PER_SECOND, URLS_AT_ONCE)
        self._confirmed: OrderedDict[str, float] = OrderedDict()
        self._confirming: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def __repr__(self) -> str:
        return f"<InputGrants by {self._shares!r}>"

    async def answer(self, sender: NodeId, request: InputsRequest) -> InputsGiven | RequestRefused:
        """Answer the node that the subject names."""
        try:
            record = self._entitled(sender, request.execution_id)
            shares = await self._shares.of(record)
            chosen = _chosen(shares, request.first, request.count)
            urls = len(chosen) + sum(read.index_bytes > 0 for _, read in chosen)
            if not self._allowance.take(sender, urls, self._clock()):
                raise InputsAskedTooOften(sender)
            if chosen:
                await self._vouch(chosen[0][1], request.s3_code)
            self._entitled(sender, request.execution_id)  # it may have ended meanwhile
            files = await self._files(chosen)
            await self._audit.record(*self._signed_for(record, request, chosen[: len(files)], files))
            return InputsGiven(
                files=files,
                total=sum(len(each.objects) for each in shares),
                total_bytes=sum(each.size_bytes for each in shares),
                lists=tuple(map(_list, shares)),
            )
        except GrantRefused as error:
            self._audit.note(refused_to_node(sender, request.execution_id, operation="inputs", code=error.code))
            return RequestRefused(code=error.code, message=error.message, retryable=error.retryable)
        except (StorageUnavailable, AuditUnwritable, Damaged) as error:
            return RequestRefused(code=error.code, message=error.message, retryable=error.retryable)

    def _signed_for(
        self,
        record: ExecutionRecord,
        request: InputsRequest,
        chosen: Sequence[tuple[int, ReadObject]],
        files: Sequence[InputFile],
    ) -> Iterator[AuditEvent]:
        """One line for the answer: which of the execution's inputs they are says the list that is frozen with it."""
        if not files:
            return
        entry = self._model.jobs.get(record.job_id)
        told = signed_for_node(
            record,
            chosen[0][1].location,
            files[0].url,
            operation="inputs",
            namespace=entry.job.namespace if entry is not None else "",
            first=max(request.first, 0),
            count=len(files),
        )
        reads = [read for _, read in chosen] + [_index_of(read) for _, read in chosen if read.index_bytes]
        yield replace(told, object=places([place(read.location.bucket, read.object.key) for read in reads]))

    def _entitled(self, sender: NodeId, execution: ExecutionId) -> ExecutionRecord:
        """The execution must exist, be this node's and go on. Raises GrantRefused, which tells strangers nothing."""
        record = self._model.execution(execution)
        if record is None or record.node_id != sender:
            raise GrantRefused(f"Node {sender} holds no execution {execution}.")
        if record.is_over_there:
            raise GrantRefused(f"Execution {execution} is {record.state}.")
        if not self._model.may_hold(record):
            raise GrantRefused(f"Execution {execution} is not this node's any more.")
        if self._model.is_surplus(record):
            raise GrantRefused(f"Execution {execution} is being stopped.")
        return record

    async def _vouch(self, read: ReadObject, s3_code: str) -> None:
        """Whether a refusal is our fault is found out before another URL is given. Raises StorageUnavailable if so.

        `s3_code` is what the node says that S3 said to the last one. Raises InputGone where the object is not there.
        """
        if not is_of_keys(s3_code):
            return
        place = named(read.location.at(read.object.key))
        async with self._confirming.setdefault(place, asyncio.Lock()):
            if self._clock() - self._confirmed.get(place, float("-inf")) < CONFIRMED_SECONDS:
                return
            try:
                async with asyncio.timeout(CONFIRM_SECONDS):
                    await self._look(read, place)
            except TimeoutError:
                raise StorageUnavailable("S3 refuses inputs, and why is not known yet: it does not answer.") from None
            self._confirmed[place] = self._clock()
            if len(self._confirmed) > MOST_CONFIRMED:
                self._confirmed.popitem(last=False)

    async def _look(self, read: ReadObject, place: str) -> None:
        bucket = await self._locations.bucket_of(read.location)
        bucket.credentials.invalidate()
        try:
            found = await bucket.look(read.object.key, version=read.object.version)
        except NotShown as error:
            problem = explain_failure(error.failure, read.location, error.skew)
            if error.failure.status == 404 or problem.code is ProblemCode.ACCESS_DENIED:
                raise InputGone(place, "S3 does not show it to the orchestrator") from None
            raise StorageUnavailable(f"S3 refuses inputs: {problem.message}", hint=problem.hint) from None
        if read.object.etag and found.etag != read.object.etag:
            raise InputGone(place, "it was changed since the job was submitted")

    async def _files(self, chosen: Sequence[tuple[int, ReadObject]]) -> tuple[InputFile, ...]:
        urls: list[SignedUrl] = []
        for at in range(0, len(chosen), MAX_FILES_AT_ONCE):  # one bucket as a rule, and few in any case
            urls += await self._signed([each for _, each in chosen[at : at + MAX_FILES_AT_ONCE]])
        indexed = [read for _, read in chosen if read.index_bytes]
        indices = iter(await self._signed([_index_of(read) for read in indexed]))
        files: list[InputFile] = []
        room = MAX_ANSWER_CHARACTERS
        for (number, read), url in zip(chosen, urls, strict=True):
            index = next(indices) if read.index_bytes else None
            room -= len(url.url) + (len(index.url) if index else 0) + len(read.object.path) + len(read.object.key)
            if room < 0 and files:
                break
            files.append(_file(number, read, url, index))
        return tuple(files)

    async def _signed(self, reads: Sequence[ReadObject]) -> list[SignedUrl]:
        """In their order. Raises StorageUnavailable."""
        urls: dict[int, SignedUrl] = {}
        for location in dict.fromkeys(each.location for each in reads):
            numbers = [number for number, each in enumerate(reads) if each.location == location]
            bucket = await self._locations.bucket_of(location)
            objects = [reads[number].object for number in numbers]
            signed = await bucket.sign_reads((each.key, each.version, each.etag) for each in objects)
            urls.update(zip(numbers, signed, strict=True))
        return [urls[number] for number in range(len(reads))]


def _chosen(shares: Sequence[SourceShare], first: int, count: int) -> list[tuple[int, ReadObject]]:
    """Those that are asked for, as if all inputs were one list."""
    begin, left = max(first, 0), max(0, min(count, MAX_FILES_AT_ONCE))
    chosen: list[tuple[int, ReadObject]] = []
    for share in shares:
        chosen += [(share.number, each) for each in share.read(begin, begin + left - len(chosen))]
        begin = max(0, begin - len(share.objects))
        if len(chosen) == left:
            break
    return chosen


def _list(share: SourceShare) -> InputList:
    return InputList(
        source=share.number,
        count=len(share.objects),
        size=share.size_bytes,
        content=content_of_list(share),
        archive=share.is_of_archives,
    )


def _index_of(read: ReadObject) -> ReadObject:
    """As an object of its own. Nothing is known of its ETag: its digest tells."""
    return ReadObject(read.location, FrozenObject(key=index_key(read.object.key), size=read.index_bytes))


def _file(number: int, read: ReadObject, url: SignedUrl, index: SignedUrl | None) -> InputFile:
    each = read.object
    return InputFile(
        source=number,
        path=each.path,
        size=each.size,
        etag=each.etag,
        sha256=each.sha256,
        content=content_of(read),
        executable=each.executable,
        archive=read.archive,
        members=read.members,
        index=InputIndex(size=read.index_bytes, sha256=read.index_sha256, url=index) if index is not None else None,
        url=url,
    )
