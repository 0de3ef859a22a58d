"""Images: tars of root file systems, unpacked once each and kept by their digests."""

import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tarpon_rootfs.box import behind_walls
from tarpon_rootfs.params import RootfsParams

UNPACK_SECONDS = 1800.0
MOST_MEMBERS = 1_000_000
_CHUNK_BYTES = 1 << 20
_Known = tuple[int, int, int, int]


class ImageUnusable(Exception):
    """In words for the author of the job."""


class Images:
    """Below `folder`, at most `most_images`, of which the longest unused go first; `local` has the operator's tars."""

    def __init__(self, folder: Path, local: Path | None, *, most_images: int, most_bytes: int) -> None:
        self._folder = folder
        self._local = local
        self._most_images = most_images
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._in_use: Counter[str] = Counter()
        self._digests: dict[_Known, str] = {}
        for left in folder.glob("new-*"):
            _remove(left)

    @contextmanager
    def unpacked(self, params: RootfsParams, given: Path | None) -> Iterator[Path]:
        """The folder of an image, which is not removed meanwhile; `given` is the input that is it, if one is.

        Blocks, for as long as an image that is new here takes to be unpacked. Raises ImageUnusable, OSError.
        """
        with self._lock:
            digest, tar = self._found(params, given)
            root = self._folder / digest
            if not root.is_dir():
                self._make_room()
                self._keep(tar, root)
            os.utime(root)
            self._in_use[digest] += 1
        try:
            yield root
        finally:
            with self._lock:
                self._in_use[digest] -= 1

    def _found(self, params: RootfsParams, given: Path | None) -> tuple[str, Path]:
        local = params.local_image
        if local is None:
            if given is None or not given.is_file():
                raise ImageUnusable(f"The image {params.image[:80]!r} is none of the task's inputs, or is a folder.")
            return self._digest(given), given
        if self._local is None:
            raise ImageUnusable("This node keeps no images of its own; give one as an input.")
        tar = self._local / f"{local.name}.tar"
        if not tar.is_file():
            raise ImageUnusable(f"This node has no image {local.name!r}.")
        if self._digest(tar) != local.digest:
            raise ImageUnusable(f"The image {local.name!r} of this node has another digest.")
        return local.digest, tar

    def _digest(self, tar: Path) -> str:
        """Found out once for as long as the file stays as it is."""
        status = tar.stat()
        known = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        if known not in self._digests:
            with tar.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
            if len(self._digests) > 1000:
                self._digests.clear()
            self._digests[known] = found
        return self._digests[known]

    def _make_room(self) -> None:
        kept = sorted((path for path in self._folder.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime)
        unused = [path for path in kept if not self._in_use[path.name]]
        for path in unused[: max(0, len(kept) + 1 - self._most_images)]:
            _remove(path)

    def _keep(self, tar: Path, root: Path) -> None:
        """By tar(1), behind walls: whatever links and names the tar has lead nowhere but into the new folder."""
        self._check_size(tar)
        draft = Path(tempfile.mkdtemp(prefix="new-", dir=self._folder))
        try:
            _unpack(tar, draft)
            draft.chmod(0o755)
            draft.rename(root)
        except BaseException:
            _remove(draft)
            raise

    def _check_size(self, tar: Path) -> None:
        size, count = 0, 0
        try:
            with tarfile.open(tar) as opened:
                for member in opened:
                    size, count = size + member.size, count + 1
                    if size > self._most_bytes or count > MOST_MEMBERS:
                        break
                    opened.members.clear()  # type: ignore[attr-defined]  # else all of them are kept
        except tarfile.TarError as error:
            raise ImageUnusable(f"The image is no tar: {error}") from error
        if size > self._most_bytes or count > MOST_MEMBERS:
            raise ImageUnusable(f"The image has more than {self._most_bytes:,} bytes or {MOST_MEMBERS:,} files.")


def _unpack(tar: Path, folder: Path) -> None:
    command = [
        *behind_walls({"/image": folder}, {"/image.tar": tar}),
        *("tar", "--extract", "--file", "/image.tar", "--directory", "/image", "--no-same-owner"),
        *("--delay-directory-restore", "--exclude", "./dev/*", "--exclude", "dev/*"),
    ]
    done = subprocess.run(command, capture_output=True, env={}, timeout=UNPACK_SECONDS, check=False)
    if done.returncode:
        words = done.stderr.decode(errors="replace").strip().partition("\n")[0]
        raise ImageUnusable(f"The image cannot be unpacked: {words[:200]}")


def _remove(folder: Path) -> None:
    """Folders of an image may be closed to their owner."""
    for path, _, _ in os.walk(folder):
        with suppress(OSError):
            Path(path).chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)
