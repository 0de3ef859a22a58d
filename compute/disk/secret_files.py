"""Files of secrets, each execution's in a folder of its own, while its task runs.

They are in a folder that only the node's user can enter, beside everything that becomes a result. An operator who wants
them on no disk mounts a tmpfs there.
"""

import logging
import os
import shutil
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import NamedTuple

from compute.disk import private_file
from shared.ids import ExecutionId

_log = logging.getLogger(__name__)

SECRETS = "secrets"
FOR_OWNER = 0o400
FOR_ANY_USER = 0o444
"""Of a container whose task is nobody that the node knows: its folder lets no other user of the machine in."""


class WrittenSecret(NamedTuple):
    """What the task sees under `path`."""

    path: str
    value: bytes


class MountedSecret(NamedTuple):
    """The file that the task sees under `path`."""

    path: str
    file: Path


class SecretFiles:
    """Below `root`. Every method but `places` blocks on the disk."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def __repr__(self) -> str:
        return f"<SecretFiles in {self._root}>"

    def places(self, execution: ExecutionId, paths: Iterable[str]) -> tuple[MountedSecret, ...]:
        """Where the files of this execution are, or will be."""
        folder = self._root / execution
        return tuple(MountedSecret(path, folder / str(number)) for number, path in enumerate(paths))

    def write(self, execution: ExecutionId, secrets: Iterable[WrittenSecret]) -> None:
        """Raises OSError."""
        folder = self._root / execution
        for number, each in enumerate(secrets):
            if not number:
                private_file.make_folder(self._root)
                private_file.make_folder(folder)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            with os.fdopen(os.open(folder / str(number), flags, FOR_OWNER), "wb") as file:
                file.write(each.value)

    def remove(self, execution: ExecutionId) -> None:
        """Also where there are none. What cannot be removed is logged, and tried again at the next start."""
        folder = self._root / execution
        try:
            shutil.rmtree(folder)
        except FileNotFoundError:
            pass
        except OSError as error:
            _log.warning("The files of secrets in %s cannot be removed: %s", folder, error)

    def sweep(self, kept: Collection[ExecutionId]) -> None:
        """Remove what an earlier process left, but for the tasks that go on."""
        if not self._root.is_dir():
            return
        for folder in self._root.iterdir():
            if folder.name not in kept:
                self.remove(ExecutionId(folder.name))
