"""Folders of a module: what it is given of the machine, and nothing else is there for it.

Inputs that are folders are seen as they are, and result paths may be written to. WASI knows no single files: an input
or a secret that is one gets a folder, with one more name of the same file, or with a copy where that cannot be.
"""

import errno
import os
import posixpath
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from compute.engines.engine import Run
from compute.engines.wasm.orders import Folder

FILES = "files"
_NO_LINKS = frozenset({errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EACCES})


def folders_of(run: Run, hidden: Iterable[Path]) -> tuple[Folder, ...]:
    """Blocks. Files that are `hidden`, such as the module itself, are not shown. Raises OSError, InvalidJob."""
    paths = {each.target: each.path for each in run.inputs} | {each.path: each.file for each in run.secrets}
    open_to_write = {each.target for each in run.inputs if each.is_writable}
    unseen = set(hidden)
    shown = {seen_as: path for seen_as, path in paths.items() if path not in unseen}
    folders = {seen_as for seen_as, path in shown.items() if path.is_dir()}
    files = {seen_as: path for seen_as, path in shown.items() if seen_as not in folders}
    inputs = [
        Folder(path=str(path), seen_as=seen_as, is_writable=seen_as in open_to_write)
        for seen_as, path in shown.items()
        if seen_as in folders
    ]
    results = [
        Folder(path=str(run.workspace.place(each.path)), seen_as=each.path, is_writable=True)
        for each in run.task.result_paths
    ]
    return (*inputs, *_of_files(run, files), *results)


def _of_files(run: Run, files: Mapping[str, Path]) -> Iterator[Folder]:
    """One for all files that are seen in the same folder."""
    places: dict[str, Path] = {}
    for seen_as, path in files.items():
        above, name = posixpath.split(seen_as)
        if above not in places:
            run.workspace.make_temporary()
            places[above] = run.workspace.temporary / FILES / str(len(places))
            places[above].mkdir(parents=True)
            yield Folder(path=str(places[above]), seen_as=above)
        _name_too(path, places[above] / name)


def _name_too(path: Path, name: Path) -> None:
    try:
        os.link(path, name, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        shutil.copyfile(path, name)
