"""How far the sending of data is, on a terminal."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tarpon.cli.console.progress import DownloadPace, LiveLine, download_text


@contextmanager
def sending_shown() -> Iterator[Callable[[str, int, int], None]]:
    """Give what is told of the progress."""
    line, paces = LiveLine(), dict[str, DownloadPace]()

    def show(what: str, done_bytes: int, total_bytes: int) -> None:
        if line.is_due() or (done_bytes == total_bytes and line.is_terminal):
            pace = paces.setdefault(what, DownloadPace())
            pace.add(time.monotonic(), done_bytes)
            line.draw(f"{what}  {download_text(done_bytes, total_bytes, pace.bytes_per_second())}")

    try:
        yield show
    finally:
        line.leave()
