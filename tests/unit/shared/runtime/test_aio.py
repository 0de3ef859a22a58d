"""Clean-up ends although its caller is cancelled, and the error that counts is the one that is raised."""

import asyncio
import contextlib
import logging
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.runtime.aio import (
    background,
    begin,
    finish,
    first_leaf,
    first_of,
    pipelined,
    process_ended,
    raising_cancellation,
    stop_requested,
)

A_MOMENT = 5.0


class CleanUp:
    """Waits until it is told to go on."""

    def __init__(self) -> None:
        self.begun, self.may_end = asyncio.Event(), asyncio.Event()
        self.is_done = False

    async def run(self) -> str:
        self.begun.set()
        await self.may_end.wait()
        self.is_done = True
        return "done"


async def for_ever() -> None:
    await asyncio.Event().wait()


async def cancelled_while(cleanup: CleanUp, *, times: int = 1) -> None:
    """Run `finish` on the clean-up, cancel its caller meanwhile, and let the clean-up end only then."""
    async with asyncio.timeout(A_MOMENT), asyncio.TaskGroup() as group:
        caller = group.create_task(finish(cleanup.run(), within=A_MOMENT))
        await cleanup.begun.wait()
        for _ in range(times):
            caller.cancel()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert not caller.done()
        cleanup.may_end.set()
        try:
            await caller
        finally:
            assert caller.cancelled()


class TestFinish:
    async def test_its_result_is_that_of_the_clean_up(self) -> None:
        cleanup = CleanUp()
        cleanup.may_end.set()
        assert await finish(cleanup.run(), within=A_MOMENT) == "done"

    @pytest.mark.parametrize("times", [1, 3])
    async def test_the_clean_up_ends_before_the_cancellation_is_raised(self, times: int) -> None:
        cleanup = CleanUp()
        with pytest.raises(asyncio.CancelledError):
            await cancelled_while(cleanup, times=times)
        assert cleanup.is_done

    async def test_a_deadline_of_the_caller_waits_for_the_clean_up_and_is_a_timeout_then(self) -> None:
        cleanup = CleanUp()

        async def end_after(deadline: asyncio.Timeout) -> None:
            await cleanup.begun.wait()
            deadline.reschedule(0)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert deadline.expired()
            assert not cleanup.is_done
            cleanup.may_end.set()

        async def hurried(group: asyncio.TaskGroup) -> None:
            async with asyncio.timeout(None) as deadline:
                group.create_task(end_after(deadline))
                await finish(cleanup.run(), within=A_MOMENT)

        async with asyncio.TaskGroup() as group:
            with pytest.raises(TimeoutError):
                await hurried(group)
        assert cleanup.is_done

    async def test_its_own_deadline_cancels_the_clean_up(self) -> None:
        cleanup = CleanUp()
        with pytest.raises(TimeoutError):
            await finish(cleanup.run(), within=0.01)
        assert not cleanup.is_done
        assert len(asyncio.all_tasks()) == 1

    async def test_an_error_of_the_clean_up_is_raised(self) -> None:
        async def fails() -> None:
            raise OSError("disk")

        with pytest.raises(OSError, match="disk"):
            await finish(fails(), within=A_MOMENT)

    async def test_a_cancellation_counts_more_than_an_error_of_the_clean_up(self) -> None:
        class Failing(CleanUp):
            async def run(self) -> str:
                await super().run()
                raise OSError("disk")

        with pytest.raises(asyncio.CancelledError):
            await cancelled_while(Failing())

    async def test_a_clean_up_that_is_cancelled_by_itself_ends_the_wait(self) -> None:
        async def gives_up() -> None:
            raise asyncio.CancelledError

        with pytest.raises(asyncio.CancelledError):
            async with asyncio.timeout(A_MOMENT):
                await finish(gives_up(), within=A_MOMENT)


class TestPipelined:
    async def test_everything_is_done_and_never_more_than_the_bound_at_once(self) -> None:
        done: list[int] = []
        running, most = 0, 0

        async def act(item: int) -> None:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await asyncio.sleep(0)
            running -= 1
            done.append(item)

        await pipelined(range(50), act, at_once=7)
        assert sorted(done) == list(range(50))
        assert most == 7

    async def test_nothing_to_do_is_done(self) -> None:
        async def act(item: int) -> None:
            raise AssertionError

        await pipelined([], act, at_once=1)

    async def test_the_first_error_is_raised_and_ends_the_rest(self) -> None:
        begun: list[int] = []
        cancelled: list[int] = []

        async def act(item: int) -> None:
            begun.append(item)
            if item == 3:
                raise ValueError(item)
            try:
                await for_ever() if item < 3 else None
            except asyncio.CancelledError:
                cancelled.append(item)
                raise

        with pytest.raises(ValueError, match=r"^3$"):
            await pipelined(range(1000), act, at_once=4)
        assert sorted(cancelled) == [0, 1, 2]
        assert len(begun) < 10

    async def test_its_error_can_be_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        async def act(item: int) -> None:
            raise ValueError(item)

        try:
            await pipelined([1], act, at_once=1)
        except ValueError:
            logging.getLogger(__name__).exception("failed")
        assert "ValueError: 1" in caplog.text

    async def test_a_cancellation_reaches_what_is_in_flight(self) -> None:
        begun, ended = asyncio.Event(), []

        async def act(item: int) -> None:
            begun.set()
            try:
                await for_ever()
            finally:
                ended.append(item)

        async with asyncio.TaskGroup() as group:
            caller = group.create_task(pipelined(range(5), act, at_once=2))
            await begun.wait()
            caller.cancel()
        assert caller.cancelled()
        assert sorted(ended) == [0, 1]


class TestFirstOf:
    """What comes of several that are run at once."""

    async def test_the_first_to_end_gives_the_answer_and_the_others_are_cancelled(self) -> None:
        cancelled: list[str] = []

        async def quick() -> str:
            return "quick"

        async def slow() -> str:
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.append("slow")
            return "slow"

        assert await first_of(slow(), quick()) == "quick"
        assert cancelled == ["slow"]

    async def test_its_error_is_raised_as_it_is(self) -> None:
        async def failing() -> None:
            raise OSError(28, "no space")

        with pytest.raises(OSError, match="no space"):
            await first_of(failing(), asyncio.sleep(1000))

    async def test_cancelling_it_cancels_all(self) -> None:
        ended: list[int] = []

        async def waiting(number: int) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(number)

        async with asyncio.TaskGroup() as group:
            race = group.create_task(first_of(waiting(1), waiting(2)), name="race")
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            race.cancel()
        assert sorted(ended) == [1, 2]


class TestBackground:
    async def test_loops_run_while_the_body_runs_and_end_with_it(self) -> None:
        ticks, names = asyncio.Event(), []

        async def loop() -> None:
            task = asyncio.current_task()
            assert task is not None
            names.append(task.get_name())
            ticks.set()
            await for_ever()

        async with background(ticking=loop()):
            await ticks.wait()
        assert names == ["ticking"]
        assert len(asyncio.all_tasks()) == 1

    async def test_the_plain_error_of_a_loop_ends_the_body(self) -> None:
        async def fails() -> None:
            raise OSError("disk")

        with pytest.raises(OSError, match="disk"):
            async with asyncio.timeout(A_MOMENT), background(other=for_ever(), failing=fails()):
                await for_ever()

    async def test_the_plain_error_of_the_body_ends_the_loops(self) -> None:
        with pytest.raises(ValueError, match="body"):
            async with background(loop=for_ever()):
                raise ValueError("body")
        assert len(asyncio.all_tasks()) == 1

    async def test_the_error_that_started_the_fall_is_raised_not_that_of_a_clean_up(self) -> None:
        begun = asyncio.Event()

        async def loop() -> None:
            begun.set()
            try:
                await for_ever()
            finally:
                raise RuntimeError("clean-up of the loop")

        async def run() -> None:
            async with background(loop=loop()):
                await begun.wait()
                raise ValueError("body")

        with pytest.raises(ValueError, match="body"):
            await run()

    async def test_the_error_of_a_loop_is_not_hidden_by_the_clean_up_of_the_body(self) -> None:
        async def fails() -> None:
            raise OSError("disk")

        async def run() -> None:
            async with background(failing=fails()):
                try:
                    await for_ever()
                finally:
                    raise RuntimeError("clean-up of the body")

        with pytest.raises(OSError, match="disk"):
            await run()

    async def test_a_loop_that_ends_by_itself_ends_nothing_else(self) -> None:
        async def ends() -> None:
            pass

        async with background(ending=ends(), other=for_ever()):
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert {task.get_name() for task in asyncio.all_tasks()} >= {"other"}

    async def test_a_cancellation_is_a_cancellation(self) -> None:
        begun = asyncio.Event()

        async def run() -> None:
            async with background(loop=for_ever()):
                begun.set()
                await for_ever()

        async with asyncio.TaskGroup() as group:
            task = group.create_task(run())
            await begun.wait()
            task.cancel()
        assert task.cancelled()

    async def test_more_tasks_may_be_born_in_it(self) -> None:
        async def fails() -> None:
            raise OSError("disk")

        async def run() -> None:
            async with background() as group:
                group.create_task(fails())
                await for_ever()

        with pytest.raises(OSError, match="disk"):
            await run()


def test_the_first_plain_error_is_found_in_nested_groups() -> None:
    inner = ExceptionGroup("inner", [ValueError("first"), KeyError("second")])
    assert str(first_leaf(ExceptionGroup("outer", [inner, OSError("third")]))) == "first"
    plain = OSError("plain")
    assert first_leaf(plain) is plain


def open_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    """Ends when its stdin is closed."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as started:
        yield started


class TestProcessEnded:
    async def test_it_returns_when_the_process_ends(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        async with asyncio.timeout(A_MOMENT), asyncio.TaskGroup() as group:
            waiting = group.create_task(process_ended(process.pid))
            await asyncio.sleep(0)
            assert not waiting.done()
            process.stdin.close()

    async def test_a_process_that_is_gone_has_ended(self, process: subprocess.Popen[bytes]) -> None:
        process.communicate()
        async with asyncio.timeout(A_MOMENT):
            await process_ended(process.pid)

    async def test_it_returns_where_no_further_descriptor_can_be_opened(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        async with asyncio.timeout(A_MOMENT), asyncio.TaskGroup() as group:
            waiting = group.create_task(process_ended(process.pid))
            resource.setrlimit(resource.RLIMIT_NOFILE, (0, before[1]))
            try:
                await asyncio.sleep(0)
                assert not waiting.done()
                process.stdin.close()
                await waiting
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, before)

    async def test_a_cancelled_wait_leaves_no_descriptor_open(self) -> None:
        before = open_descriptors()
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(process_ended(os.getpid()))
            await asyncio.sleep(0)
            assert open_descriptors() == before + 1
            waiting.cancel()
        assert open_descriptors() == before


async def test_a_signal_to_stop_is_an_event_and_handlers_are_given_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    async with stop_requested() as event:
        assert not event.is_set()
        os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(A_MOMENT):
            await event.wait()
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize(("within", "code"), [(60.0, 0), (0.0, 128 + signal.SIGTERM)])
def test_a_signal_that_arrives_twice_is_one_request_and_a_later_one_kills(within: float, code: int) -> None:
    program = f"""
import asyncio, os, signal
from shared.runtime import aio
aio.SAME_SIGNAL_SECONDS = {within}
async def main():
    async with aio.stop_requested() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        await stop.wait()
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.sleep(0.05)
asyncio.run(main())
"""
    assert subprocess.run([sys.executable, "-c", program], timeout=30, check=False).returncode == code


async def test_a_cancellation_is_heeded_where_an_error_arrives_together_with_it() -> None:
    """As when a connection is lost: each call that waits gets an error, and the lease is given up at the same time."""

    async def swallowing() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise OSError("the connection is closed") from None

    async def for_ever() -> None:
        while True:
            with contextlib.suppress(OSError):
                await raising_cancellation(swallowing())

    async with asyncio.timeout(5):
        async with background(loop=for_ever()):
            await asyncio.sleep(0)


async def test_nothing_is_begun_in_a_group_that_ends(recwarn: pytest.WarningsRecorder) -> None:
    """A task that goes on for a moment while its group is cancelled does not turn the cancellation into a failure."""
    begun: list[bool] = []

    async def lingering(group: asyncio.TaskGroup) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            begun.append(begin(group, asyncio.sleep(0), name="late"))

    async def leading() -> None:
        async with asyncio.TaskGroup() as group:
            assert begin(group, lingering(group), name="lingering")
            await asyncio.Event().wait()

    async with background(leading=leading()):
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert begun == [False]
    assert not recwarn.list


async def test_a_cancellation_counts_more_than_the_errors_of_what_it_cancels() -> None:
    """A TaskGroup of Python 3.11 gives the errors alone; the loop around it would then go on for ever."""

    async def failing(_: int) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise OSError("not while being cancelled")

    async def for_ever() -> None:
        while True:
            with contextlib.suppress(OSError):
                await pipelined([1, 2], failing, at_once=2)

    async with asyncio.timeout(5):
        async with background(loop=for_ever()):
            await asyncio.sleep(0.01)
