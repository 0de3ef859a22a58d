"""Ownerless copies of devices and programs, for tasks of a node that root runs.

Such a task owns the files of root that it sees. Where it sees one that is not read only, it could take it from
everybody by changing its mode: the machine's /dev/null, or the program bwrap, which every task finds as /proc/1/exe. So
it is given copies that belong to nobody: the same device under another name, the same program.
"""

import os
import shutil
import stat
import threading
from pathlib import Path

from compute.disk import private_file

BASIC_DEVICES = tuple(f"/dev/{name}" for name in ("null", "zero", "full", "random", "urandom", "tty"))
_GPUS = ("nvidia*", "nvidia-caps/*", "dri/*", "kfd")
_NOBODY = 65534
_DEVICE_MODE, _PROGRAM_MODE = 0o666, 0o755


class OwnerlessCopies:
    """Copies are in `folder`, where there have to be any. Every method blocks, and raises OSError."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._making = threading.Lock()
        self._are_needed = Path(os.devnull).stat().st_uid == os.geteuid()

    def __repr__(self) -> str:
        return f"<OwnerlessCopies{f' in {self._folder}' if self._are_needed else ', none needed'}>"

    def basic_devices(self) -> dict[str, str]:
        """What is to be shown under which path, where it is not the machine's own."""
        return {path: self.device(path) for path in BASIC_DEVICES} if self._are_needed else {}

    def gpus(self) -> dict[str, str]:
        paths = [path for pattern in _GPUS for path in sorted(Path("/dev").glob(pattern)) if path.is_char_device()]
        return {str(path): self.device(str(path)) for path in paths}

    def device(self, path: str) -> str:
        """The device that a task may have as `path`."""
        if not self._are_needed:
            return path
        number = os.stat(path).st_rdev  # noqa: PTH116
        copy = self._folder / path.removeprefix("/dev/").replace("/", ".")
        with self._making:  # one draft of a copy at a time: tasks start in several threads
            if not _is_copy(copy, number):
                draft = self._draft(copy)
                os.mknod(draft, stat.S_IFCHR | 0o600, number)
                _give_away(draft, copy, _DEVICE_MODE)
        return str(copy)

    def program(self, path: str) -> str:
        """Copied anew each time, for another one may have been installed meanwhile."""
        if not self._are_needed:
            return path
        copy = self._folder / Path(path).name
        with self._making:
            draft = self._draft(copy)
            shutil.copyfile(path, draft)
            _give_away(draft, copy, _PROGRAM_MODE)
        return str(copy)

    def _draft(self, copy: Path) -> Path:
        private_file.make_folder(self._folder)
        draft = copy.with_name(f"{copy.name}.new")
        draft.unlink(missing_ok=True)
        return draft


def _is_copy(path: Path, number: int) -> bool:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return False
    return found.st_mode == stat.S_IFCHR | _DEVICE_MODE and (found.st_rdev, found.st_uid) == (number, _NOBODY)


def _give_away(draft: Path, place: Path, mode: int) -> None:
    """Last comes the name under which it is used."""
    draft.chmod(mode)
    os.chown(draft, _NOBODY, _NOBODY)
    draft.replace(place)
