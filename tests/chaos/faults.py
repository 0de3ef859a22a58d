"""How each fault comes about and is healed again, and when that was (no tests in here)."""

import asyncio
import contextlib
import errno
import os
import random
import signal
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import NamedTuple, assert_never

from shared.runtime.aio import begin, finish
from tests.chaos.gates import Mode
from tests.chaos.schedule import Fault, Kind
from tests.chaos.stack import Stack
from tests.faulty_s3 import CONFLICT, EXPIRED, INTERNAL, LOSE_ANSWER, SLOW_DOWN, TRUNCATE
from tests.faulty_s3 import Fault as Answer
from tests.faulty_s3 import Kind as Request

HEAL_SECONDS = 60.0
FILLER = "filler"
PIECE_BYTES = 1 << 20
REFILL_SECONDS = 0.5
WATCH_SECONDS = 1.0
START_SECONDS = 15.0
MISBEHAVIOURS = (SLOW_DOWN, INTERNAL, CONFLICT, EXPIRED, LOSE_ANSWER, TRUNCATE, Answer(cut_after=1000))
REQUESTS = (Request.ARCHIVE, Request.PART, Request.BEGIN, Request.COMPLETE, Request.HEAD, Request.INDEX)


class Happened(NamedTuple):
    """Of the run's timeline; seconds since the load began."""

    at: float
    what: str


class Faults:
    """`tell` is for who watches. `problems` are what went wrong with processes themselves.

    `left_out` says of each fault that was planned and not committed why it was not.
    """

    def __init__(self, stack: Stack, tell: Callable[[str], None], *, seed: int) -> None:
        self.timeline: list[Happened] = []
        self.problems: list[str] = []
        self.exits = 0
        self.done: list[Fault] = []
        self.left_out: list[str] = []
        self._stack = stack
        self._tell = tell
        self._seed = seed
        self._meant_to_be_down: set[str] = set()
        self._one_at_a_time: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._started_at: dict[str, float] = {}
        self._last: dict[str, Fault] = {}
        """What each target suffered last, or suffers still."""
        self._begun = time.monotonic()

    async def follow(self, faults: tuple[Fault, ...]) -> None:
        """Commit all, each at its time, and return when all are healed. Who cancels this finds the rest `left_out`."""
        try:
            async with asyncio.TaskGroup() as group:
                for fault in faults:
                    await asyncio.sleep(fault.at - self._now)
                    begin(group, self._commit(fault), name=str(fault))
        finally:
            self._tell_left_out(faults)

    def _tell_left_out(self, faults: tuple[Fault, ...]) -> None:
        for fault in set(faults).difference(self.done):
            why = "its time had not come when the run ended"
            if (last := self._last.get(fault.target)) is not None and fault.at <= self._now:
                waited = self._now - fault.at
                why = f"after {waited:.1f} s it was still waiting for fault {last.number} ({last}) to be healed"
            self.left_out.append(f"fault {fault.number} ({fault}) was left out: {why}")
            self._note(self.left_out[-1])

    async def watch(self) -> None:
        """Start again what ended by itself, as an operator's system would, until cancelled."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            for name, service in self._stack.services.items():
                if not service.is_running and name not in self._meant_to_be_down:
                    self.exits += 1
                    self._note(f"{name} ended by itself with {service.process.returncode}: {service.tail()[-600:]}")
                    self._start(name)  # at once, so that nobody else starts it meanwhile

    @contextmanager
    def left_to_others(self, *names: str) -> Iterator[None]:
        """Whoever ends these also starts them again, for two of a server would share its store."""
        self._meant_to_be_down.update(names)
        try:
            yield
        finally:
            self._meant_to_be_down.difference_update(names)

    async def _commit(self, fault: Fault) -> None:
        """A fault that took longer to heal than planned, as an orderly stop may, delays the next one of its target."""
        async with self._one_at_a_time[fault.target]:
            self._last[fault.target] = fault
            self._note(f"fault {fault.number}: {fault}")
            async with self._suffered(fault):
                self.done.append(fault)
                await asyncio.sleep(fault.seconds)
            self._note(f"healed {fault.number}: {fault.kind} of {fault.target}")

    def _note(self, text: str) -> None:
        self.timeline.append(Happened(round(self._now, 2), text))
        self._tell(text)

    @property
    def _now(self) -> float:
        """Seconds since the load began."""
        return time.monotonic() - self._begun

    def _suffered(self, fault: Fault) -> contextlib.AbstractAsyncContextManager[None]:  # noqa: PLR0912  # a table
        stack, name = self._stack, fault.target
        match fault.kind:
            case Kind.ORCHESTRATOR_KILL | Kind.NODE_KILL | Kind.NATS_KILL:
                return self._down(name, signal.SIGKILL)
            case Kind.ORCHESTRATOR_TERMINATE | Kind.NODE_TERMINATE | Kind.NATS_TERMINATE:
                return self._down(name, signal.SIGTERM)
            case Kind.ORCHESTRATOR_PAUSE | Kind.NODE_PAUSE | Kind.NATS_PAUSE:
                return _paused(stack.services[name].process.pid)
            case Kind.ORCHESTRATOR_CLOCK | Kind.NODE_CLOCK:
                return self._wrong_clock(fault)
            case Kind.ORCHESTRATOR_NATS_STALL | Kind.NODE_NATS_STALL:
                return _turned(lambda mode: stack.turn_nats(name, mode), Mode.STALLED)
            case Kind.ORCHESTRATOR_NATS_CUT | Kind.NODE_NATS_CUT:
                return _turned(lambda mode: stack.turn_nats(name, mode), Mode.CUT)
            case Kind.ORCHESTRATOR_S3_STALL | Kind.NODE_S3_STALL:
                return _turned(lambda mode: stack.turn_s3(name, mode), Mode.STALLED)
            case Kind.ORCHESTRATOR_S3_CUT | Kind.NODE_S3_CUT:
                return _turned(lambda mode: stack.turn_s3(name, mode), Mode.CUT)
            case Kind.NODE_DISK:
                return _full(stack.root / name)
            case Kind.NATS_DISK:
                return self._full_nats_disk(name)
            case Kind.S3_KILL:
                return self._s3_down()
            case Kind.S3_PAUSE:
                return _paused(stack.s3.pid)
            case Kind.S3_ERRORS:
                return self._s3_errors(fault)
            case _:
                assert_never(fault.kind)

    @asynccontextmanager
    async def _down(self, name: str, number: signal.Signals) -> AsyncIterator[None]:
        service = self._stack.services[name]
        with self.left_to_others(name):
            try:
                if service.is_running and number is signal.SIGKILL:
                    # To its end also where the run ends meanwhile, or what is killed late is its successor.
                    await finish(asyncio.to_thread(service.kill), within=HEAL_SECONDS)
                elif service.is_running:
                    await self._terminate(name)
                yield
            finally:
                self._start(name)

    async def _terminate(self, name: str) -> None:
        try:
            code = await finish(asyncio.to_thread(self._stack.services[name].stop), within=HEAL_SECONDS)
        except AssertionError as error:
            self.problems.append(f"{name} {error}")
            return
        allowed = {0, 1} if name.startswith("nats") else {0}  # nats-server answers SIGTERM with 1
        if name.startswith("nats") and code == 2:
            # It has crashed on the way (seen with 2.15.1), which is as a kill, and is counted.
            self.exits += 1
            return
        if time.monotonic() - self._started_at.get(name, 0.0) < START_SECONDS:
            allowed |= {-signal.SIGTERM}  # what has only just begun does not listen to signals yet
        if code not in allowed:
            self.problems.append(f"{name} was asked to stop and ended with {code}")

    def _start(self, name: str) -> None:
        self._started_at[name] = time.monotonic()
        self._stack.services[name].start()

    @asynccontextmanager
    async def _wrong_clock(self, fault: Fault) -> AsyncIterator[None]:
        """Wrong in one direction, and for the second half in the other."""
        clock = self._stack.clocks[fault.target]
        loop = asyncio.get_running_loop()
        clock.set_hours(fault.hours)
        turn = loop.call_later(fault.seconds / 2, clock.set_hours, -fault.hours)
        try:
            yield
        finally:
            turn.cancel()
            clock.set_hours(0.0)

    @asynccontextmanager
    async def _full_nats_disk(self, name: str) -> AsyncIterator[None]:
        """A server whose disk was full turns JetStream off; an operator makes room and starts it again."""
        async with _full(self._stack.root / name):
            yield
        async with self._down(name, signal.SIGKILL):
            pass

    @asynccontextmanager
    async def _s3_down(self) -> AsyncIterator[None]:
        try:
            await finish(asyncio.to_thread(self._stack.s3.stop), within=HEAL_SECONDS)
            yield
        finally:
            await finish(asyncio.to_thread(self._stack.s3.start), within=HEAL_SECONDS)

    @asynccontextmanager
    async def _s3_errors(self, fault: Fault) -> AsyncIterator[None]:
        dice = random.Random(f"{self._seed}/{fault.number}")
        for kind in REQUESTS:
            # The head of a truncated answer promises another size, which for a HEAD is all that is asked for.
            possible = [each for each in MISBEHAVIOURS if kind is not Request.HEAD or each is not TRUNCATE]
            self._stack.faulty_s3.plan(kind, *dice.choices(possible, k=dice.randint(1, 8)))
        try:
            yield
        finally:
            self._stack.faulty_s3.forget_plans()


@asynccontextmanager
async def _paused(pid: int) -> AsyncIterator[None]:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


@asynccontextmanager
async def _turned(turn: Callable[[Mode], Awaitable[None]], mode: Mode) -> AsyncIterator[None]:
    await turn(mode)
    try:
        yield
    finally:
        await turn(Mode.OPEN)


@asynccontextmanager
async def _full(folder: Path) -> AsyncIterator[None]:
    """What is freed meanwhile is filled again."""
    over = asyncio.Event()

    async def fill() -> None:
        with _filler(folder / FILLER) as write:
            while not over.is_set():
                await asyncio.to_thread(write)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(REFILL_SECONDS):
                        await over.wait()

    async with asyncio.TaskGroup() as group:
        begin(group, fill(), name="filler")
        try:
            yield
        finally:
            over.set()


@contextmanager
def _filler(path: Path) -> Iterator[Callable[[], None]]:
    """What writes to the file until there is no room, of a file that is gone at the end."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def write() -> None:
        size = PIECE_BYTES
        while size:
            try:
                os.write(file, b"\0" * size)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                size //= 16

    try:
        yield write
    finally:
        path.unlink()
        os.close(file)
