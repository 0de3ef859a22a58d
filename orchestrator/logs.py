"""What a task writes, fetched from its node while somebody watches, and from the record once the node has forgotten it.

The reader sets the pace: the node is asked for the next bytes when the last ones have been taken.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import NamedTuple

from orchestrator.execution_names import named_execution
from orchestrator.job_entry import JobEntry
from orchestrator.model import Model
from orchestrator.records import ExecutionRecord
from shared import messages, subjects
from shared.errors import MessagingUnavailable, NotFound
from shared.messages import OutputRead, ReadOutput, Rejected
from shared.states import ExecutionState
from shared.transport import Connection

ANSWER_SECONDS = 5.0
PAUSE_SECONDS = 0.3
"""Between looks at a task that has written nothing new."""
GONE_SECONDS = 30.0
"""For how long a node that does not answer is asked again, while the execution goes on."""

STDOUT, STDERR = 1, 2


class Piece(NamedTuple):
    """Some bytes of one stream: STDOUT or STDERR."""

    stream: int
    content: bytes


class Logs:
    def __init__(self, connection: Connection, model: Model) -> None:
        self._connection = connection
        self._model = model

    async def pieces(
        self, entry: JobEntry, *, execution: str = "", follow: bool = False, tail: int | None = None
    ) -> AsyncIterator[Piece]:
        """What the chosen, or else the last, execution of the job has written and, with `follow`, what it writes.

        Raises NotFound, and MessagingUnavailable where its node does not answer.
        """
        record = chosen(entry, execution)
        order = ReadOutput(execution_id=record.id, tail_lines=tail)
        while True:
            answer = await self._ask(order)
            if isinstance(answer, Rejected):
                for piece in self._kept(record, is_first=order.tail_lines == tail and not order.stdout_from):
                    yield piece
                return
            if answer.stdout:
                yield Piece(STDOUT, answer.stdout)
            if answer.stderr:
                yield Piece(STDERR, answer.stderr)
            nothing_new = not (answer.stdout or answer.stderr)
            if nothing_new and (answer.is_over or not follow):
                return
            order = ReadOutput(execution_id=record.id, stdout_from=answer.stdout_next, stderr_from=answer.stderr_next)
            if nothing_new:
                await asyncio.sleep(PAUSE_SECONDS)

    async def _ask(self, order: ReadOutput) -> OutputRead | Rejected:
        """Ask the node until it answers, as long as the execution goes on and the node may come back."""
        async with asyncio.timeout(GONE_SECONDS):
            while True:
                current = self._model.execution(order.execution_id)
                assert current is not None
                if current.state.is_terminal:
                    return Rejected(reason="Ended")
                try:
                    subject = subjects.node_orders(current.node_id)
                    answer = await self._connection.request(subject, messages.encode(order), timeout=ANSWER_SECONDS)
                    return messages.decode_of_node(messages.output_answers, answer)
                except (MessagingUnavailable, messages.UnknownMessage):
                    await asyncio.sleep(PAUSE_SECONDS)

    def _kept(self, record: ExecutionRecord, *, is_first: bool) -> tuple[Piece, ...]:
        """The beginning of what an execution wrote that has ended, unless its node has shown some of it before."""
        current = self._model.execution(record.id) or record
        if current.output is None or not is_first:
            return ()
        kept = Piece(STDOUT, current.output.stdout.encode()), Piece(STDERR, current.output.stderr.encode())
        return tuple(piece for piece in kept if piece.content)


def chosen(entry: JobEntry, text: str) -> ExecutionRecord:
    """The execution of this id or beginning of an id; without one, that of the newest version which began last."""
    if text:
        found = named_execution(entry.executions.values(), text)
        if found is None:
            raise NotFound(
                f"Job {entry.job.id} has no execution {text[:80]!r}.",
                hint=f"`tarpon job executions {entry.job.id} --all-job-versions` lists them.",
            )
        return found
    begun = [each for each in entry.executions.values() if each.state is not ExecutionState.NEW]
    candidates = [each for each in begun or entry.executions.values() if each.job_version == entry.job.version]
    if not candidates:
        raise NotFound(
            f"Job {entry.job.id} has no execution yet.",
            hint=f"`tarpon job describe {entry.job.id}` shows what it waits for.",
        )
    return max(candidates, key=lambda each: (each.create_time, each.id))
