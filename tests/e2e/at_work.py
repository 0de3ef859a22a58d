"""Users at work beside a test: each in a thread of its own, until the test has seen enough (no tests in here)."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def at_work(over: threading.Event, *acts: Callable[[], None]) -> Iterator[None]:
    """Meanwhile all of this is done; `over`, which they look at, is set at the end, and they are waited for."""
    over.clear()
    threads = [threading.Thread(target=act) for act in acts]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()
