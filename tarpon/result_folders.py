"""Where results are put in the file system: beside what is there, never over it, and only when all is well."""

import asyncio
import os
import shutil
import stat
import uuid
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from shared import ids
from shared.aio import finish
from shared.errors import CannotExtract, Conflict, InvalidInput
from shared.jobspec import JobView
from shared.rest import ResultParams

MOVE_SECONDS = 300.0
RAW_FOLDER = "raw"
_ALWAYS = ("stdout", "stderr", "exitCode")


class ResultsInTheWay(Conflict):
    """What is to be written exists already."""

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        super().__init__(
            f"Nothing was downloaded, because {folder} already has: {', '.join(names)}.",
            hint="Name another folder with --output-dir, or remove what is there.",
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


def _folder_name(job: str, namespace: str) -> str:
    typed = job if namespace in {"", "default"} else f"{namespace}-{job}"
    return f"job-{typed.replace(os.sep, '_')}"


def place_of(folder: Path, view: JobView, params: ResultParams, *, raw: bool, alone: bool) -> Path:
    """Where a result ends up; the folder itself stands for its files directly in there."""
    if raw:
        return folder / RAW_FOLDER / f"{ids.job_id(view.id)}_{params.execution_id}.tar.gz"
    return folder if alone else folder / params.execution_id


def expected_names(view: JobView) -> list[str]:
    """What a result has at its top, as far as can be known before it is there."""
    return [*_ALWAYS, *(path.name for task in view.tasks[:1] for path in task.result_paths)]


def check_free(folder: Path, names: Iterable[str | Path]) -> None:
    paths = [folder / name for name in names]
    taken = [str(path.relative_to(folder)) for path in paths if os.path.lexists(path)]
    if taken:
        raise ResultsInTheWay(folder, taken)


@asynccontextmanager
async def staging_in(folder: Path) -> AsyncIterator[Path]:
    """A place on the same file system for what is not checked yet; it is removed with all that is in it."""
    staging = folder / f".tarpon-{uuid.uuid4().hex[:12]}"
    try:
        staging.mkdir(mode=0o700)
    except OSError as error:
        raise CannotExtract(f"{folder} cannot be written to: {error.strerror}.") from error
    try:
        yield staging
    finally:
        await finish(asyncio.to_thread(_remove, staging), within=MOVE_SECONDS)


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
            place.parent.mkdir(exist_ok=True)
            _move(source, place)
    except OSError as error:
        raise CannotExtract(f"{folder} cannot be written to: {error.strerror}.") from error


def _move(source: Path, place: Path) -> None:
    mode = stat.S_IMODE(source.lstat().st_mode)
    if source.is_dir() and not source.is_symlink() and not mode & stat.S_IWUSR:
        source.chmod(mode | stat.S_IWUSR)  # a directory that is moved must be writable, because of its ".."
        source.rename(place)
        place.chmod(mode)
    else:
        source.rename(place)


def _remove(staging: Path) -> None:
    """Remove also what its author made read-only."""
    for folder, folders, _ in os.walk(staging):
        for name in folders:
            path = Path(folder, name)
            if not path.is_symlink():
                path.chmod(0o700)
    shutil.rmtree(staging, ignore_errors=True)
