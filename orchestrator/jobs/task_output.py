"""The output of tasks: from the node while somebody watches, and from the record once the node has forgotten it.

The reader sets the pace: the node is asked for the next bytes when the last ones have been taken.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import NamedTuple

from orchestrator.jobs.execution_names import named_execution
from orchestrator.rules.records import ExecutionRecord
from orchestrator.state.job_entry import JobEntry
from orchestrator.state.model import Model
from shared.errors import MessagingUnavailable, NotFound
from shared.ids import ExecutionId
from shared.jobs.states import ExecutionState
from shared.messaging.transport import Connection
from shared.protocol import messages, subjects
from shared.protocol.messages import OutputRead, ReadOutput, Rejected

ANSWER_SECONDS = 5.0
LATE_SECONDS = 2.0
"""For how long the node of an execution that has ended may take to answer."""
PAUSE_SECONDS = 0.3
"""Between looks at a task that has written nothing new."""
GONE_SECONDS = 30.0
"""For how long a node that does not answer is asked again, while the execution goes on."""

STDOUT, STDERR = 1, 2
REPLACED = "\N{REPLACEMENT CHARACTER}"
"""What stands in a record for bytes that are no text."""


class Piece(NamedTuple):
    """Some bytes of one stream, STDOUT or STDERR, from the byte `start` of it on."""

    stream: int
    start: int
    content: bytes


class Begin(NamedTuple):
    """With which byte of each stream it begins."""

    stdout: int
    stderr: int


class End(NamedTuple):
    """Nothing follows. Of an output that is not whole, what is missing is in the result or nowhere."""

    is_whole: bool


class Logs:
    def __init__(self, connection: Connection, model: Model) -> None:
        self._connection = connection
        self._model = model

    async def pieces(self, order: ReadOutput, *, follow: bool = False) -> AsyncIterator[Begin | Piece | End]:
        """What the execution has written and, with `follow`, what it writes until it ends.

        What its node does not show any more comes from the record, as far as that has it. Raises NotFound, and
        MessagingUnavailable where the node does not answer.
        """
        has_begun = False
        while True:
            answer = await self._ask(order)
            if isinstance(answer, OutputRead):
                if not has_begun:
                    yield Begin(answer.stdout_next - len(answer.stdout), answer.stderr_next - len(answer.stderr))
                    has_begun = True
                for piece in _read(answer):
                    yield piece
                order = ReadOutput(
                    execution_id=order.execution_id, stdout_from=answer.stdout_next, stderr_from=answer.stderr_next
                )
                if answer.stdout or answer.stderr:
                    continue
                if answer.is_over or not follow:
                    yield End(is_whole=answer.is_over)
                    return
            elif not follow or self._record(order.execution_id).state.is_terminal:
                for kept in _kept(self._record(order.execution_id), order):
                    yield kept
                return
            await asyncio.sleep(PAUSE_SECONDS)

    async def _ask(self, order: ReadOutput) -> OutputRead | Rejected:
        """Ask the node until it answers, as long as the execution goes on and the node may come back.

        Of one that has ended it may still know more than the record.
        """
        async with asyncio.timeout(GONE_SECONDS):
            while True:
                current = self._record(order.execution_id)
                ended = current.state.is_terminal
                try:
                    subject = subjects.node_orders(current.node_id)
                    within = LATE_SECONDS if ended else ANSWER_SECONDS
                    answer = await self._connection.request(subject, messages.encode(order), timeout=within)
                    return messages.decode_of_node(messages.output_answers, answer)
                except (MessagingUnavailable, messages.UnknownMessage):
                    if ended:
                        return Rejected(reason="Ended")
                    await asyncio.sleep(PAUSE_SECONDS)

    def _record(self, execution: ExecutionId) -> ExecutionRecord:
        record = self._model.execution(execution)
        if record is None:
            raise NotFound(f"Execution {execution} is not known any more.", hint="Its job was deleted.")
        return record


def _read(answer: OutputRead) -> Iterator[Piece]:
    if answer.stdout:
        yield Piece(STDOUT, answer.stdout_next - len(answer.stdout), answer.stdout)
    if answer.stderr:
        yield Piece(STDERR, answer.stderr_next - len(answer.stderr), answer.stderr)


def _kept(record: ExecutionRecord, order: ReadOutput) -> Iterator[Piece | End]:
    """What the record of an execution has of its output from the asked bytes on."""
    output = record.output
    if output is None:
        yield End(is_whole=False)
        return
    is_whole = True
    has_result = record.result is not None and not record.result_deleted
    for stream, start, text, is_cut in (
        (STDOUT, order.stdout_from, output.stdout, output.stdout_truncated),
        (STDERR, order.stderr_from, output.stderr, output.stderr_truncated),
    ):
        content = text.encode()
        is_exact = REPLACED not in text  # else a byte of it may be three of the text
        if is_exact or not has_result:
            begin = start if order.tail_lines is None else len(content) - len(_tail(content, order.tail_lines))
            if begin < len(content):
                yield Piece(stream, begin, content[begin:])
        is_whole = is_whole and not is_cut and (is_exact or not has_result)
    yield End(is_whole=is_whole)


def _tail(content: bytes, lines: int) -> bytes:
    return b"".join(content.splitlines(keepends=True)[-lines:]) if lines else b""


def chosen(entry: JobEntry, text: str, version: int) -> ExecutionRecord:
    """The execution of this id or beginning of an id; without one, that of the version which began last.

    Of replicas it is none that ended otherwise than the others agree about, as long as there is another.
    """
    if text:
        found = named_execution(entry.executions.values(), text)
        if found is None:
            raise NotFound(
                f"Job {entry.job.id} has no execution {text[:80]!r}.",
                hint=f"`tarpon job executions {entry.job.id} --all-job-versions` lists them.",
            )
        return found
    candidates = [each for each in entry.executions.values() if each.job_version == version]
    begun = [each for each in candidates if each.state is not ExecutionState.NEW]
    if not candidates:
        raise NotFound(
            f"Job {entry.job.id} has no execution yet.",
            hint=f"`tarpon job describe {entry.job.id}` shows what it waits for.",
        )
    believed = [each for each in begun if not each.owner or not each.state.is_terminal or each.has_counting_result]
    return max(believed or begun or candidates, key=lambda each: (each.create_time, each.id))
