"""Given inputs: the files of an execution, some at a time, with URLs that are signed again when they die."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection
from urllib.parse import unquote, urlsplit

from compute.inputs.failures import InputFailed
from compute.upload.delivery import Trouble
from compute.upload.grants import answered
from shared.errors import GrantRefused
from shared.ids import ExecutionId
from shared.jobs.states import FailureReason
from shared.protocol.messages import NodeRequestAnswer
from shared.protocol.nodes.inputs import MAX_FILES_AT_ONCE, InputFile, InputList, InputsGiven, InputsRequest
from shared.protocol.signed_url import SignedUrl

LEAST_SECONDS = 10.0
"""A URL that lives no longer is renewed before it is used."""
OTHERS = "The orchestrator gave other inputs when it was asked again."

AskInputs = Callable[[InputsRequest], Awaitable[NodeRequestAnswer]]


class GivenInputs:
    """Of one execution, and these of its inputs. Every question is repeated until the orchestrator answers it."""

    def __init__(self, execution_id: ExecutionId, ask: AskInputs, trouble: Trouble, *, of: Collection[int]) -> None:
        self.total = 0
        self.total_bytes = 0
        self.lists: tuple[InputList, ...] = ()
        self.trouble = trouble
        self._is_known = False
        self._of = frozenset(of)
        self._execution_id = execution_id
        self._ask = ask

    def __repr__(self) -> str:
        return f"<GivenInputs of {self._execution_id}: {self.total} files, {self.total_bytes} bytes>"

    async def batch(self, first: int) -> "GivenBatch":
        """The files from this number on, at most MAX_FILES_AT_ONCE. Raises InputFailed."""
        asked_at, files = await self.ask(first, MAX_FILES_AT_ONCE)
        return GivenBatch(self, first, files, asked_at)

    async def ask(self, first: int, count: int, s3_code: str = "") -> tuple[float, tuple[InputFile, ...]]:
        """With the time of the question. Fewer only where there are no more."""
        asked_at, files = time.monotonic(), list[InputFile]()
        while len(files) < count:
            request = InputsRequest(
                execution_id=self._execution_id, first=first + len(files), count=count - len(files), s3_code=s3_code
            )
            try:
                _, answer = await answered(self._ask, request, self.trouble.failed)
            except GrantRefused as error:
                detail = f"The orchestrator does not give the inputs of the task: {error.message}"
                raise InputFailed(FailureReason.INPUT_ACCESS_DENIED, detail) from None
            if not isinstance(answer, InputsGiven):
                detail = f"The orchestrator answered the question for inputs with {type(answer).__name__}."
                raise InputFailed(FailureReason.INPUT_ACCESS_DENIED, detail)
            self._learn(answer)
            files += answer.files
            if first + len(files) >= answer.total:
                break
            if not answer.files:
                raise InputFailed(FailureReason.INPUT_CHANGED, OTHERS)
        return asked_at, tuple(files[:count])

    def _learn(self, answer: InputsGiven) -> None:
        """Raises InputFailed. An earlier orchestrator, which may answer in between, does not tell the lists."""
        is_as_before = (self.total, self.total_bytes) == (answer.total, answer.total_bytes)
        if self._is_known and not (is_as_before and (answer.lists or self.lists) == (self.lists or answer.lists)):
            raise InputFailed(FailureReason.INPUT_CHANGED, OTHERS)
        sources = {file.source for file in answer.files} | {each.source for each in answer.lists}
        if sources - self._of:
            detail = "The orchestrator gave a file of an input that the task does not have."
            raise InputFailed(FailureReason.INPUT_ACCESS_DENIED, detail)
        self.total, self.total_bytes, self._is_known = answer.total, answer.total_bytes, True
        self.lists = self.lists or answer.lists


class GivenBatch:
    """Some files that follow each other. Their URLs are renewed together, once for all that ask at the same time."""

    def __init__(self, given: GivenInputs, first: int, files: tuple[InputFile, ...], asked_at: float) -> None:
        self.first = first
        self.files = files
        self._given = given
        self._asked_at = asked_at
        self._renewing = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<GivenBatch of {len(self.files)} files from number {self.first} on>"

    @property
    def asked_at(self) -> float:
        return self._asked_at

    @property
    def trouble(self) -> Trouble:
        return self._given.trouble

    def __getitem__(self, index: int) -> "GivenFile":
        return GivenFile(self, index)

    async def live(self, lifetime_seconds: float) -> None:
        """Have URLs that live, if they had so long a life when they were asked for. A fresh one is always tried."""
        left_seconds = self._asked_at + lifetime_seconds - time.monotonic()
        if left_seconds < min(LEAST_SECONDS, lifetime_seconds / 2):
            await self.renew(self._asked_at, "")

    async def renew(self, asked_at: float, s3_code: str) -> None:
        """Have URLs that are younger than those of then. Raises InputFailed."""
        async with self._renewing:
            if self._asked_at > asked_at:
                return
            when, files = await self._given.ask(self.first, len(self.files), s3_code)
            if tuple(map(_identity, files)) != tuple(map(_identity, self.files)):
                raise InputFailed(FailureReason.INPUT_CHANGED, OTHERS)
            self.files, self._asked_at = files, when
            self.trouble.renewed()


class GivenFile:
    """One of a batch."""

    def __init__(self, batch: GivenBatch, index: int) -> None:
        self.index = index
        self.batch = batch

    def __repr__(self) -> str:
        return f"<GivenFile number {self.batch.first + self.index}>"

    @property
    def file(self) -> InputFile:
        return self.batch.files[self.index]

    @property
    def trouble(self) -> Trouble:
        return self.batch.trouble

    async def url(self) -> tuple[float, SignedUrl]:
        """One that lives, and when it was asked for."""
        await self.batch.live(self.file.url.lifetime_seconds)
        return self.batch.asked_at, self.file.url

    @property
    def told(self) -> str:
        """The object, for people: without what signs it."""
        return unquote(urlsplit(self.file.url.address).path).lstrip("/")[-200:]


def _identity(file: InputFile) -> tuple[object, ...]:
    return file.source, file.path, file.size, file.etag, file.sha256, file.content
