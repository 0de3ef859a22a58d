"""Folders of results: beside what is there, never over it, and only when all is well."""

import os
import stat
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from itertools import takewhile
from pathlib import Path

from shared import ids
from shared.errors import CannotExtract, Conflict, InvalidInput
from shared.extraction.tar_reader import Member, MemberKind
from shared.jobs.partition_names import partition_name
from shared.jobs.spec import OPS, Job, JobView
from shared.protocol.rest import ResultParams
from tarpon.results.staging import is_staging

RAW_FOLDER = "raw"
_OWNER = "user.tarpon.execution"
MAX_NAME_BYTES = 255
NAMED = 10
"""As many names are told in a message."""
_NOT_KNOWN = (
    "Name another folder with --output-dir, remove this one, or name it and one part (--partition) to add to it."
)
ALWAYS = ("stdout", "stderr", "exitCode")


class ResultsInTheWay(Conflict):
    """What is to be written exists already."""

    def __init__(self, folder: Path, names: Sequence[str], *, hint: str = "") -> None:
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        super().__init__(
            f"Nothing was downloaded, because {folder} already has: {', '.join(names[:NAMED])}{more}.",
            hint=hint or "Name another folder with --output-dir, or remove what is there.",
        )


@asynccontextmanager
async def receiving(job: str, view: JobView, output_dir: Path | None) -> AsyncIterator[Path]:
    """The folder that receives the results. It is made with those above it; what of them stays empty is removed."""
    folder = (output_dir or results_folder(job, view)).absolute()
    missing = list(takewhile(lambda each: not os.path.lexists(each), (folder, *folder.parents)))
    try:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            raise _no_folder(folder) from None
        except OSError as error:
            told = f"{shown(folder)} cannot be made: {error.strerror}."
            raise CannotExtract(told, hint="Name a folder with --output-dir where you may write.") from error
        yield folder
    except BaseException:
        for each in missing:
            with suppress(OSError):
                each.rmdir()
        raise


@contextmanager
def removed_if_empty(folder: Path) -> Iterator[None]:
    """If `folder` is made meanwhile and stays empty, it is removed at the end."""
    existed = folder.exists()
    try:
        yield
    finally:
        if not existed:
            with suppress(OSError):
                folder.rmdir()


def _no_folder(path: Path) -> InvalidInput:
    hint = "Name another one with --output-dir, or move it away."
    return InvalidInput(f"{shown(path)} is there, and is no folder.", hint=hint)


def results_folder(job: str, view: JobView) -> Path:
    """Where results go if nobody says: by the job as it is called, or its id where no file can have such a name."""
    typed = job if view.namespace in {"", "default"} else f"{view.namespace}-{job}"
    name = f"job-{typed.replace(os.sep, '_')}"
    return Path(name if len(os.fsencode(name)) <= MAX_NAME_BYTES else f"job-{view.id}")


def places_of(folder: Path, view: JobView, results: Sequence[ResultParams], *, raw: bool) -> list[Path]:
    """Where results end up; the folder itself stands for the files of a single one directly in there.

    Otherwise each has a folder that is named by its part, or by its execution where that has one already: earlier
    versions of Tarpon made such. So have two results of one part, if a server offers such.
    """
    if raw:
        names = [f"{ids.job_id(view.id)}_{each.execution_id}.tar.gz" for each in results]
        return [folder / RAW_FOLDER / name for name in names]
    if len(results) == 1:
        return [folder]
    of_part = Counter(each.partition_index for each in results)
    return [_place_of(folder, view, each, is_only=of_part[each.partition_index] == 1) for each in results]


def _place_of(folder: Path, view: JobView, params: ResultParams, *, is_only: bool) -> Path:
    earlier = folder / params.execution_id
    if not is_only or os.path.lexists(earlier):
        return earlier
    return folder / view.part_name(params.partition_index)


def expected_names(job: Job, merged: Sequence[ResultParams] = ()) -> list[str]:
    """What a result has at its top, or several that are merged, as far as can be known beforehand.

    `stdout.7` is what earlier versions of Tarpon made.
    """
    partitions = [each.partition_index for each in merged]
    names = map(job.part_name, partitions) if isinstance(job, JobView) else ()  # else there are no results yet
    keys = [*names, *map(str, partitions)]
    always = [f"{name}.{key}" for key in keys for name in ALWAYS] if keys else ALWAYS
    return [*always, *(path.name for task in job.tasks[:1] for path in task.result_paths)]


def check_free(folder: Path, names: Iterable[str | Path]) -> None:
    paths = [folder / name for name in names]
    taken = [str(path.relative_to(folder)) for path in paths if os.path.lexists(path)]
    if taken:
        raise ResultsInTheWay(folder, taken)


def refuse_taken(folder: Path, job: Job) -> None:
    """Raise ResultsInTheWay or InvalidInput where a new execution's results would not come into the folder."""
    folder, count = folder.absolute(), job.count or 1
    if os.path.lexists(folder) and not folder.is_dir():
        raise _no_folder(folder)
    if job.type.strip() == OPS:  # which nodes that will be is not known yet
        return
    if count == 1:
        check_free(folder, expected_names(job))
        return
    names = [partition_name(number, count) for number in range(count)] if folder.exists() else []
    if taken := [name for name in names if os.path.lexists(folder / name) and not is_empty(folder / name)]:
        raise ResultsInTheWay(folder, taken)


def check_owner(folder: Path, place: Path, execution: str) -> None:
    """Raise ResultsInTheWay where `place`, in `folder`, holds files that may be of another execution.

    A part may have been run again since, or another job have a part of that number: their files are not mixed. Whose
    the files are is known where it has been noted, or where the folder has the execution's name. `folder` itself may
    hold anything that has not been noted.
    """
    owner = owner_of(place)
    if execution in {owner, place.name} or is_empty(place) or (place == folder and not owner):
        return
    whose = f"execution {owner}" if owner else "an execution that is not known"
    hint = "Name another folder with --output-dir, or remove this one." if owner else _NOT_KNOWN
    raise ResultsInTheWay(folder, [f"files of {whose}" if place == folder else f"{place.name} (of {whose})"], hint=hint)


def note_owner(place: Path, execution: str) -> None:
    """Write down of which execution a folder is, if its file system has attributes of users."""
    with suppress(OSError), writable(place):
        os.setxattr(place, _OWNER, execution.encode())


def note_only_owner(folder: Path, execution: str, *, was_empty: bool) -> None:
    """The same of a folder that others may have put files into: it is this execution's, or nobody's."""
    if was_empty:
        note_owner(folder, execution)
    elif owner_of(folder) not in {"", execution}:
        with suppress(OSError), writable(folder):
            os.removexattr(folder, _OWNER)


def owner_of(place: Path) -> str:
    """The execution that was noted; empty where none was."""
    try:
        return shown(Path(os.fsdecode(os.getxattr(place, _OWNER, follow_symlinks=False))))
    except OSError:
        return ""


def check_room(folder: Path, place: Path, members: Sequence[Member]) -> None:
    """Raise ResultsInTheWay where what exists below `place`, in `folder`, is no folder that is to be filled."""
    taken: list[str] = []
    for member in members:
        path = place / os.fsdecode(member.name)
        if os.path.lexists(path) and not (member.kind is MemberKind.DIRECTORY and is_folder(path)):
            taken.append(shown(path.relative_to(folder)))
    if taken:
        raise ResultsInTheWay(folder, taken)


def put_in_place(folder: Path, staged: Sequence[Path], places: Sequence[Path]) -> None:
    """Move everything, or nothing if something is in the way by now."""
    moves: list[tuple[Path, Path]] = []
    for source, place in zip(staged, places, strict=True):
        if place == folder:
            moves += [(child, folder / child.name) for child in sorted(source.iterdir())]
        else:
            moves.append((source, place))
    check_free(folder, [place for _, place in moves])
    try:
        for source, place in moves:
            _move(source, place)
    except OSError as error:
        raise CannotExtract(f"{folder} cannot be written to: {error.strerror}.") from error


def merge_in_place(folder: Path, staged: Sequence[Path], places: Sequence[Path]) -> None:
    """Move everything into folders that may exist, or nothing if a file is in the way of another."""
    pairs = zip(staged, places, strict=True)
    taken = [shown(each.relative_to(folder)) for pair in pairs for each in collisions(*pair)]
    if taken:
        raise ResultsInTheWay(folder, taken)
    try:
        for source, place in zip(staged, places, strict=True):
            merge(source, place)
    except OSError as error:
        raise CannotExtract(f"{folder} cannot be written to: {error.strerror}.") from error


def collisions(source: Path, place: Path) -> Iterator[Path]:
    """What exists below `place`, or as `place`, and is no folder into which the one of `source` could be merged."""
    with ExitStack() as opened:
        pairs = [(source, place)]
        while pairs:
            source, place = pairs.pop()
            if not os.path.lexists(place):
                continue
            if is_folder(source) and is_folder(place):
                pairs += _children(source, place, opened)
            else:
                yield place


def merge(source: Path, place: Path) -> None:
    with ExitStack() as opened:
        pairs = [(source, place)]
        while pairs:
            source, place = pairs.pop()
            if os.path.lexists(place):
                pairs += _children(source, place, opened)
            else:
                _move(source, place)


def _children(source: Path, place: Path, opened: ExitStack) -> list[tuple[Path, Path]]:
    """What is in the one folder with its place in the other, the first in order at the end."""
    for folder in (source, place):
        open_to_owner(folder, opened)
    return [(child, place / child.name) for child in sorted(source.iterdir(), reverse=True)]


def shown(path: Path) -> str:
    return os.fsencode(path).decode(errors="replace")


def is_empty(path: Path) -> bool:
    """Whether nothing is there, or a folder with nothing in it. What a download stages there counts for nothing."""
    try:
        with os.scandir(path) as entries:
            return all(is_staging(entry.name) for entry in entries)
    except FileNotFoundError:
        return True
    except OSError:
        return False


def is_folder(path: Path) -> bool:
    return not path.is_symlink() and path.is_dir()  # what a link leads to may be out of reach


def _move(source: Path, place: Path) -> None:
    # To be moved a folder must be writable, because of its "..", and so must those that it leaves and goes to.
    with writable(source.parent), writable(place.parent):
        if not is_folder(source):
            source.rename(place)
            return
        mode = stat.S_IMODE(source.lstat().st_mode)
        if mode & stat.S_IWUSR:
            source.rename(place)
        else:
            source.chmod(mode | stat.S_IWUSR)
            source.rename(place)
            place.chmod(mode)


@contextmanager
def writable(folder: Path) -> Iterator[None]:
    with ExitStack() as opened:
        open_to_owner(folder, opened)
        yield


def open_to_owner(folder: Path, opened: ExitStack) -> None:
    """Let this user list and change the folder, if it is theirs, until `opened` ends."""
    status = folder.stat()
    mode = stat.S_IMODE(status.st_mode)
    if mode & stat.S_IRWXU != stat.S_IRWXU and status.st_uid == os.geteuid():
        folder.chmod(mode | stat.S_IRWXU)
        opened.callback(folder.chmod, mode)
