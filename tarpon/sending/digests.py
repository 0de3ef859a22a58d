"""Digests of local files, computed in threads; a file that changes meanwhile is told of."""

import asyncio
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event

from shared.jobs.inputs.manifest import DataFile
from tarpon.sending.local_tree import LocalFile, opened
from tarpon.sending.problems import FileChanged, FileUnreadable

SLICE_BYTES = 1 << 20
MOST_THREADS = 8
BATCH_BYTES = 8 << 20
BATCH_FILES = 64


async def digested(files: Sequence[LocalFile], on_progress: Callable[[int], None]) -> list[DataFile]:
    """Each with its digest, in the same order; `on_progress` is told how many bytes have been read.

    Raises FileChanged, FileUnreadable; nothing is read any more then.
    """
    stop, done = Event(), 0
    with ThreadPoolExecutor(min(MOST_THREADS, os.cpu_count() or 1), "digests") as pool:
        loop = asyncio.get_running_loop()
        try:
            pending = [loop.run_in_executor(pool, _digests, batch, stop) for batch in _batches(files)]
            found: list[DataFile] = []
            for each in pending:
                digests = await each
                found += digests
                done += sum(file.size for file in digests)
                on_progress(done)
        finally:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
    return found


def _batches(files: Sequence[LocalFile]) -> Iterator[list[LocalFile]]:
    """Many small files are one piece of work."""
    batch: list[LocalFile] = []
    size = 0
    for file in files:
        batch.append(file)
        size += file.size
        if size >= BATCH_BYTES or len(batch) == BATCH_FILES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _digests(files: Sequence[LocalFile], stop: Event) -> list[DataFile]:
    return [
        DataFile(path=file.path, sha256=_digest(file, stop), size=file.size, executable=file.executable)
        for file in files
    ]


def _digest(file: LocalFile, stop: Event) -> str:
    digest, read = hashlib.sha256(), 0
    try:
        descriptor = opened(file)
        try:
            if not file.is_still(os.fstat(descriptor)):
                raise FileChanged(file.source)
            while not stop.is_set() and (data := os.read(descriptor, SLICE_BYTES)):
                digest.update(data)
                read += len(data)
            if not stop.is_set() and (read != file.size or not file.is_still(os.fstat(descriptor))):
                raise FileChanged(file.source)
        finally:
            os.close(descriptor)
    except FileNotFoundError as error:
        raise FileChanged(file.source) from error
    except OSError as error:
        raise FileUnreadable(file.source, error.strerror or str(error)) from error
    return digest.hexdigest()
