"""Where results are put in the file system: beside what is there, never over it, and only when all is well."""

import os
import stat
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

from shared import ids
from shared.errors import CannotExtract, Conflict, InvalidInput
from shared.jobspec import JobView
from shared.rest import ResultParams
from tarpon.tar_reader import Member, MemberKind

RAW_FOLDER = "raw"
_NAMED = 10
"""As many names are told in a message."""
_ALWAYS = ("stdout", "stderr", "exitCode")


class ResultsInTheWay(Conflict):
    """What is to be written exists already."""

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        super().__init__(
            f"Nothing was downloaded, because {folder} already has: {', '.join(names[:_NAMED])}{more}.",
            hint="Name another folder with --output-dir, or remove what is there.",
        )


class ResultsNotMerged(Conflict):
    """Several results have a file of the same name."""

    def __init__(self, names: Sequence[str]) -> None:
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        super().__init__(
            f"The results were not merged, because several of them have: {', '.join(names[:_NAMED])}{more}.",
            hint="Without --merge each result gets a folder of its own.",
        )


@asynccontextmanager
async def receiving(job: str, view: JobView, output_dir: Path | None) -> AsyncIterator[Path]:
    """The folder that receives the results. One that was made here is removed if it stays empty."""
    folder = (output_dir or Path(_folder_name(job, view.namespace))).absolute()
    if output_dir is not None and not folder.is_dir():
        raise InvalidInput(f"The folder {output_dir} does not exist.", hint=f"Make it first: mkdir -p {output_dir}")
    made = not folder.exists()
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise CannotExtract(f"{folder} cannot be made: {error.strerror}.") from error
    try:
        yield folder
    except BaseException:
        if made and not any(folder.iterdir()):
            folder.rmdir()
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


def _folder_name(job: str, namespace: str) -> str:
    typed = job if namespace in {"", "default"} else f"{namespace}-{job}"
    return f"job-{typed.replace(os.sep, '_')}"


def place_of(folder: Path, view: JobView, params: ResultParams, *, raw: bool, alone: bool) -> Path:
    """Where a result ends up; the folder itself stands for its files directly in there."""
    if raw:
        return folder / RAW_FOLDER / f"{ids.job_id(view.id)}_{params.execution_id}.tar.gz"
    return folder if alone else folder / params.execution_id


def expected_names(view: JobView, keys: Sequence[str] = ()) -> list[str]:
    """What a result has at its top, or several that are merged by these keys, as far as can be known beforehand."""
    always = [f"{name}.{key}" for key in keys for name in _ALWAYS] if keys else _ALWAYS
    return [*always, *(path.name for task in view.tasks[:1] for path in task.result_paths)]


def check_free(folder: Path, names: Iterable[str | Path]) -> None:
    paths = [folder / name for name in names]
    taken = [str(path.relative_to(folder)) for path in paths if os.path.lexists(path)]
    if taken:
        raise ResultsInTheWay(folder, taken)


def check_room(folder: Path, place: Path, members: Sequence[Member]) -> None:
    """Raise ResultsInTheWay where what exists below `place`, in `folder`, is no folder that is to be filled."""
    taken: list[str] = []
    for member in members:
        path = place / os.fsdecode(member.name)
        if os.path.lexists(path) and not (member.kind is MemberKind.DIRECTORY and _is_folder(path)):
            taken.append(_printable(path.relative_to(folder)))
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
    taken = [_printable(each.relative_to(folder)) for pair in pairs for each in _collisions(*pair)]
    if taken:
        raise ResultsInTheWay(folder, taken)
    try:
        for source, place in zip(staged, places, strict=True):
            _merge(source, place)
    except OSError as error:
        raise CannotExtract(f"{folder} cannot be written to: {error.strerror}.") from error


def merge_partitions(staged: Sequence[tuple[str, Path]], merged: Path) -> None:
    """Move all results into the one tree `merged`. Keys tell apart what each of them has.

    That is `stdout`, `stderr` and `exitCode`, which become `stdout.<key>` and so on. Whatever else two of them have,
    except folders, raises ResultsNotMerged; of a folder that several have, the first one's mode is kept.
    """
    taken: list[str] = []
    try:
        merged.mkdir(mode=0o700)
        for key, source in staged:
            for name in _ALWAYS:
                _set_apart(source, name, key)
            if found := list(_collisions(source, merged)):
                taken += [_printable(each.relative_to(merged)) for each in found]
            else:
                _merge(source, merged)
    except OSError as error:
        raise CannotExtract(f"The results cannot be merged: {error.strerror}.") from error
    if taken:
        raise ResultsNotMerged(taken)


def _set_apart(source: Path, name: str, key: str) -> None:
    place = source / f"{name}.{key}"
    if os.path.lexists(source / name):
        if os.path.lexists(place):
            raise ResultsNotMerged([place.name])
        (source / name).rename(place)


def _collisions(source: Path, place: Path) -> Iterator[Path]:
    """What exists below `place`, or as `place`, and is no folder into which the one of `source` could be merged."""
    if not os.path.lexists(place):
        return
    if not (_is_folder(source) and _is_folder(place)):
        yield place
        return
    for child in sorted(source.iterdir()):
        yield from _collisions(child, place / child.name)


def _merge(source: Path, place: Path) -> None:
    if not os.path.lexists(place):
        _move(source, place)
        return
    for child in sorted(source.iterdir()):
        _merge(child, place / child.name)


def _printable(path: Path) -> str:
    return os.fsencode(path).decode(errors="replace")


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _move(source: Path, place: Path) -> None:
    # To be moved a folder must be writable, because of its "..", and so must those that it leaves and goes to.
    with _writable(source.parent), _writable(place.parent):
        if not _is_folder(source):
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
def _writable(folder: Path) -> Iterator[None]:
    status = folder.stat()
    mode = stat.S_IMODE(status.st_mode)
    if mode & stat.S_IWUSR or status.st_uid != os.geteuid():
        yield
        return
    folder.chmod(mode | stat.S_IRWXU)
    try:
        yield
    finally:
        folder.chmod(mode)
