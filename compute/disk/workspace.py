"""The workspace of one execution on disk, and how its result folder comes about.

    <execution>/workspace/   what the task sees; a result path /a/b is the folder a/b in it
    <execution>/result/      stdout, stderr, and one folder per result path, named by its name
    <execution>/inputs/      what a container mounts to read, where there is any
    <execution>/tmp/         temporary files of a task behind walls

Without result paths there is no folder for the result, and stdout and stderr are beside the workspace. The exit code is
in the journal, and becomes a file in the archive only.

After the task has ended nothing in the workspace can be trusted: a task may have replaced any folder by a link.
"""

import codecs
import contextlib
import logging
import os
import stat
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath

from compute.disk import private_file
from compute.disk.file_attributes import attribute_names
from compute.disk.gathering import RESULT_FOLDER_MODE, Gathered, Gathering
from compute.disk.input_files import INPUTS
from compute.disk.mounts import mounts_in, real_path
from compute.disk.removal import remove_tree
from compute.disk.result_contents import (
    EXIT_CODE,
    FILE_MODE,
    STDERR,
    STDOUT,
    ResultContents,
    Written,
    kept_mode,
    whole_mtime,
)
from compute.disk.spare_folders import TEMPORARY, WORKSPACE, SpareFolders
from shared.errors import InvalidJob
from shared.jobs.engine_params import kind_of
from shared.jobs.publisher_params import copies_hard_links
from shared.jobs.spec import ResultPath, Task
from shared.protocol.messages import MAX_RUN_OUTPUT_BYTES, RunOutput

_log = logging.getLogger(__name__)

_OUTPUTS = frozenset({STDOUT.encode("ascii"), STDERR.encode("ascii")})
MAX_NAME_BYTES = 255
SHORT_BYTES = 16 << 10
DISK_SECONDS = 600.0
"""How long making, moving or removing the folders of one execution may take."""


class Workspace:
    """The folders of one execution below `root`. Every method blocks on the disk.

    `has_paths` says whether there are result paths, and with them a folder for the result. Without them it may be one
    of the `spares`.
    """

    def __init__(self, root: Path, *, has_paths: bool = True, spares: SpareFolders | None = None) -> None:
        self.root = root
        self._has_paths = has_paths
        self._spares = None if has_paths else spares

    @cached_property
    def folder(self) -> Path:
        return self.root / WORKSPACE

    @cached_property
    def result(self) -> Path:
        """Where stdout and stderr are, and what the result paths become."""
        return self.root / "result" if self._has_paths else self.root

    @cached_property
    def inputs(self) -> Path:
        return self.root / INPUTS

    @cached_property
    def temporary(self) -> Path:
        """What the task finds as /tmp, if it does not find the machine's own."""
        return self.root / TEMPORARY

    @property
    def places(self) -> tuple[Path, ...]:
        """All that is there for the task: what it may fill, and what it reads."""
        return (self.folder, self.temporary, self.result, self.inputs) if self._has_paths else (self.root,)

    def __repr__(self) -> str:
        return f"<Workspace {self.folder}>"

    def create(self, result_paths: Sequence[ResultPath]) -> None:
        """What of it is in the result has the same mode on each node."""
        if self._spares is not None and self._spares.take(self.root):
            return
        for folder in dict.fromkeys((self.root, self.folder, self.result)):
            private_file.make_folder(folder)
        for each in result_paths:
            place = self.place(each.path)
            place.mkdir(parents=True, exist_ok=True)
            place.chmod(RESULT_FOLDER_MODE)
        for name in (STDOUT, STDERR):
            output = self.open_output(name)
            os.fchmod(output, FILE_MODE)
            os.close(output)

    def make_temporary(self) -> None:
        private_file.make_folder(self.temporary)

    def nobody_is_left(self) -> None:
        """The task has ended, and no process of it is alive that could write here."""
        if self._spares is not None:
            self._spares.nobody_is_left_in(self.root)

    def take_over(self) -> None:
        """Bring what an earlier version left to today's places: it had a folder for each result."""
        earlier = self.root / "result"
        if not self._has_paths and earlier.is_dir():
            for name in (STDOUT, STDERR):
                with contextlib.suppress(FileNotFoundError):
                    (earlier / name).rename(self.root / name)
            with contextlib.suppress(OSError):  # what has to be left does not matter
                remove_tree(earlier)

    def open_output(self, name: str) -> int:
        """A descriptor to write stdout or stderr from its beginning."""
        return os.open(f"{self.result}/{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, FILE_MODE)

    def contents(self, exit_code: int, ended_at: float, task: Task | None = None) -> ResultContents:
        """What is archived of `result`. Does not block."""
        written = Written(EXIT_CODE.encode("ascii"), b"%d" % exit_code, FILE_MODE, int(ended_at))
        return ResultContents(
            names=None if self._has_paths else _OUTPUTS,
            written=(written,),
            places=tuple(self._places_of(task)) if task else (),
            copies_links=task is not None and copies_hard_links(task.publisher),
        )

    def _places_of(self, task: Task) -> Iterator[tuple[bytes, bytes]]:
        """Where the task saw its result paths, the longest first. Without a container that is in the workspace."""
        engine = kind_of(task.engine)
        for each in sorted(task.result_paths, key=lambda each: len(PurePosixPath(each.path).parts), reverse=True):
            name = os.fsencode(each.name)
            if engine is not None and engine.on_the_machine:
                place = os.fsencode(self.place(each.path))
                yield place, name
                executions = os.fsencode(self.root.parent)
                yield real_path(os.fspath(self.root.parent)) + place[len(executions) :], name
            else:
                yield os.fsencode(os.path.normpath(each.path)), name

    def place(self, path: str) -> Path:
        """Where in the workspace an absolute path of the task is. Raises InvalidJob for a path that leaves it."""
        parts = PurePosixPath(path).parts
        if ".." in parts or "\0" in path:
            raise InvalidJob([f"the path {path[:200]!r} leaves the task's folder"])
        return self.folder.joinpath(*(part for part in parts if not part.startswith("/")))

    def gather(self, result_paths: Sequence[ResultPath]) -> Gathered:
        """Make the result folder complete, which is then all that is looked at of what the task has left."""
        self._discard_temporary()
        return Gathering(self.root, self.folder, self.result).run(result_paths)

    def _discard_temporary(self) -> None:
        """An empty one may serve another task."""
        try:
            if not os.path.lexists(self.temporary) or not any(self.temporary.iterdir()):
                return
        except OSError:
            pass  # the task has closed it, which is no reason to keep it
        try:
            remove_tree(self.temporary)
        except OSError as error:
            _log.warning("Temporary files in %s cannot be removed: %s", self.temporary, error)

    def short_outputs(self) -> tuple[Written, ...]:
        """Stdout and stderr as they are archived, read once for all that is done with them; empty if one is not short.

        Of a result without result paths, they are all its files.
        """
        if self._has_paths:
            return ()
        found = tuple(file for name in (STDOUT, STDERR) if (file := _short_file(self.result, name)) is not None)
        return found if len(found) == len(_OUTPUTS) else ()

    def read_output(self, exit_code: int, files: Sequence[Written] = ()) -> RunOutput:
        """What is told of the outputs; `files` are those that have been read already."""
        contents = {os.fsdecode(file.name): file.content for file in files}
        stdout, stdout_truncated = _text(contents[STDOUT]) if files else _beginning(self.result / STDOUT)
        stderr, stderr_truncated = _text(contents[STDERR]) if files else _beginning(self.result / STDERR)
        return RunOutput(
            stdout=stdout,
            stdout_truncated=stdout_truncated,
            stderr=stderr,
            stderr_truncated=stderr_truncated,
            exit_code=exit_code,
        )

    def discard(self) -> None:
        """Raises OSError, after all else is removed, where something has to be left."""
        problem: OSError | None = None
        for place in self.places:
            try:
                remove_tree(place)
            except OSError as error:
                problem = error
        if problem is not None:
            raise problem


def check_result_paths(result_paths: Sequence[ResultPath]) -> None:
    """Raise InvalidJob if a name would not be one folder of the result, or a path not one below the workspace."""
    problems = [problem for each in result_paths if (problem := _problem(each))]
    names = [each.name for each in result_paths]
    problems += [f"the result name {name!r} is used twice" for name in sorted(set(names)) if names.count(name) > 1]
    if problems:
        raise InvalidJob(problems)


def _problem(wanted: ResultPath) -> str:
    name, path = wanted.name, PurePosixPath(wanted.path)
    if name in {"", ".", "..", STDOUT, STDERR, EXIT_CODE} or "/" in name or "\0" in name:
        return f"{name[:200]!r} cannot name a folder of the result"
    if len(os.fsencode(name)) > MAX_NAME_BYTES:
        return f"the result name {name[:40]!r}... has more than {MAX_NAME_BYTES} bytes"
    if not path.is_absolute() or ".." in path.parts or len(path.parts) == 1 or "\0" in wanted.path:
        return f"the result path {wanted.path[:200]!r} is not an absolute path of a folder below the root"
    return ""


def _short_file(folder: Path, name: str) -> Written | None:
    """None if it is long, or not the plain file that it was made as: then more is to be said of it than its content."""
    try:
        descriptor = os.open(f"{folder}/{name}", os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1 or status.st_size > SHORT_BYTES:
            return None
        if attribute_names(descriptor):
            return None
        content = os.read(descriptor, status.st_size + 1) if status.st_size else b""
    finally:
        os.close(descriptor)
    is_whole = len(content) == status.st_size
    return Written(name.encode("ascii"), content, kept_mode(status), whole_mtime(status)) if is_whole else None


def _beginning(path: Path) -> tuple[str, bool]:
    """The first MAX_RUN_OUTPUT_BYTES as text, and whether there is more."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:  # the task has removed or replaced it
        return "", False
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return "", False
        return _text(os.read(descriptor, MAX_RUN_OUTPUT_BYTES + 1))
    finally:
        os.close(descriptor)


def _text(content: bytes) -> tuple[str, bool]:
    """A character that the limit cuts in two is left out."""
    if not content:
        return "", False
    truncated = len(content) > MAX_RUN_OUTPUT_BYTES
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    return decoder.decode(content[:MAX_RUN_OUTPUT_BYTES], final=not truncated), truncated


def remove_execution(root: Path) -> None:
    """Remove the folder of an execution: of most, these few things are all there is. Absent is fine."""
    if not os.path.lexists(root) or mounts_in(root):
        remove_tree(root)
        return
    try:
        os.unlink(f"{root}/{STDOUT}")  # noqa: PTH108  # a third of the cost, and there are very many
        os.unlink(f"{root}/{STDERR}")  # noqa: PTH108
        os.rmdir(f"{root}/{WORKSPACE}")  # noqa: PTH106
        with contextlib.suppress(FileNotFoundError):
            os.rmdir(f"{root}/{TEMPORARY}")  # noqa: PTH106
        os.rmdir(root)  # noqa: PTH106
    except OSError:
        remove_tree(root)
