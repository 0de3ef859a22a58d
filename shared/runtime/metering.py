"""Metering: how much processor time of the event loop a coroutine takes for itself."""

import time
import types
from collections.abc import Awaitable, Callable, Generator
from typing import Any, TypeVar

T = TypeVar("T")


@types.coroutine
def metered(work: Awaitable[T], took: Callable[[float], None]) -> Generator[Any, Any, T]:
    """What `work` returns. `took` is told the seconds of each of its steps, from one time that it waits to the next."""
    steps: Any = work.__await__()
    step, given = steps.send, None
    while True:
        begun = time.thread_time()
        try:
            waits_for = step(given)
        except StopIteration as end:
            result: T = end.value
            return result
        finally:
            took(time.thread_time() - begun)
        try:
            given = yield waits_for
            step = steps.send
        except BaseException as error:  # noqa: BLE001  # such as that it is cancelled, which it is to be told
            step, given = steps.throw, error
