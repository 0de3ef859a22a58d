"""A thread in which pieces of an archive are placed while the next ones are decompressed."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

P = TypeVar("P")

PIECES_AHEAD = 4
"""How many wait to be placed. Each has a MiB at most."""


class PlacingThread(Generic[P]):
    """Gives `place` each piece in its order. What has one piece alone needs no thread, and gets none.

    `give` and `finish` raise what `place` has raised, after which it is not called again. Afterwards, and in any case,
    comes `close`.
    """

    def __init__(self, place: Callable[[P], None]) -> None:
        self._place = place
        self._first: P | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._placing: deque[Future[None]] = deque()
        self._failed = False

    def __repr__(self) -> str:
        return f"<PlacingThread, {len(self._placing)} pieces ahead>"

    def give(self, piece: P) -> None:
        if self._thread is None:
            if self._first is None:
                self._first = piece
                return
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="placing")
            self._submit(self._thread, self._first)
        while len(self._placing) >= PIECES_AHEAD:
            self._placing.popleft().result()
        self._submit(self._thread, piece)

    def finish(self) -> None:
        """Wait until everything is placed."""
        if self._thread is None and self._first is not None:
            self._place(self._first)
        while self._placing:
            self._placing.popleft().result()

    def close(self) -> None:
        """Wait for the piece that is being placed, and forget the others. May be called again."""
        self._failed = True
        if self._thread is not None:
            self._thread.shutdown(cancel_futures=True)

    def _submit(self, thread: ThreadPoolExecutor, piece: P) -> None:
        self._placing.append(thread.submit(self._place_next, piece))

    def _place_next(self, piece: P) -> None:
        if self._failed:
            return
        try:
            self._place(piece)
        except BaseException:
            self._failed = True
            raise
