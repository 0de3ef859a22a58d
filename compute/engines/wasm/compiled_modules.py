"""Compiled modules, kept on the node's disk by the digests of the modules that they were made of.

What is in here is run as it is, so nobody but the node may write to it: a process that compiles gives its work to the
node, which alone gives it its name. It lies in the node's own folder, which no task sees. It is of one release of the
runtime and of one boot, as after a power cut nobody knows what of a file was written; all else is removed at the start.
"""

import contextlib
import os
import threading
from collections import OrderedDict
from pathlib import Path

from compute.disk import private_file
from compute.disk.removal import remove_tree

_COPY_BYTES = 1 << 30
_DRAFT = ".new"


class CompiledModules:
    """At most `limit_bytes` of them, of which those go first that were not used for the longest time.

    May be used by any thread; every method blocks on the disk.
    """

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self._folder = folder
        self._limit_bytes = limit_bytes
        self._lock = threading.Lock()
        self._sizes: OrderedDict[str, int] = OrderedDict()

    def __repr__(self) -> str:
        return f"<CompiledModules in {self._folder}: {len(self._sizes)}>"

    @classmethod
    def open(cls, root: Path, runtime: str, boot: str, limit_bytes: int) -> "CompiledModules":
        """Those of this runtime and this boot, below `root`. Raises OSError."""
        folder = root / f"{runtime}-{boot}"
        private_file.make_folder(root)
        for other in root.iterdir():
            if other != folder:
                remove_tree(other)
        private_file.make_folder(folder)
        found = cls(folder, limit_bytes)
        found._know_what_is_there()
        return found

    def get(self, digest: str) -> int | None:
        """A descriptor of it, to read."""
        with self._lock:
            if digest not in self._sizes:
                return None
            self._sizes.move_to_end(digest)
            try:
                return os.open(self._folder / digest, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            except FileNotFoundError:
                del self._sizes[digest]
                return None

    def put(self, digest: str, content: int) -> None:
        """Keep what is in this descriptor, a file in memory. Raises OSError."""
        draft, size = self._folder / f"{digest}{_DRAFT}", os.fstat(content).st_size
        target = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            copied = 0
            while copied < size:
                copied += os.sendfile(target, content, copied, min(_COPY_BYTES, size - copied))
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
        finally:
            os.close(target)
        with self._lock:
            draft.replace(self._folder / digest)
            self._sizes[digest] = size
            self._sizes.move_to_end(digest)
            self._keep_within_limit()

    def forget(self, digest: str) -> None:
        with self._lock:
            self._sizes.pop(digest, None)
            (self._folder / digest).unlink(missing_ok=True)

    def _keep_within_limit(self) -> None:
        """The last one stays in any case: somebody is about to use it."""
        while sum(self._sizes.values()) > self._limit_bytes and len(self._sizes) > 1:
            oldest, _ = self._sizes.popitem(last=False)
            with contextlib.suppress(FileNotFoundError):
                (self._folder / oldest).unlink()

    def _know_what_is_there(self) -> None:
        with os.scandir(self._folder) as entries:
            found = [(entry.stat(follow_symlinks=False), entry.name) for entry in entries]
        for status, name in sorted(found, key=lambda each: each[0].st_mtime_ns):
            if name.endswith(_DRAFT):
                (self._folder / name).unlink(missing_ok=True)
            else:
                self._sizes[name] = status.st_size
        self._keep_within_limit()
