"""Merged results: those of several parts become one tree, in which it stays known which part wrote what.

What only one part has keeps its name, and folders that several have become one. Whatever else several have gets the
name of its part at its end, as `stdout`, `stderr` and `exitCode` always do: `stdout.0007`. Nothing is appended to
anything. A link of a part that led to such a file leads to it still.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from shared.errors import CannotExtract, Conflict
from tarpon.results.folders import ALWAYS, NAMED, collisions, is_folder, merge, open_to_owner, shown


class ResultsNotMerged(Conflict):
    """A name that a file of one part would get is that of another file."""

    def __init__(self, names: Sequence[str]) -> None:
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        super().__init__(
            f"The results were not merged, because several files would be called: {', '.join(names[:NAMED])}{more}.",
            hint="Without --merge each result gets a folder of its own.",
        )


def merge_partitions(staged: Sequence[tuple[str, Path]], merged: Path) -> None:
    """Move all results, each with the name of its part, into the one tree `merged`. Raises ResultsNotMerged.

    Of a folder that several have, the first one's mode is kept.
    """
    taken: list[str] = []
    try:
        merged.mkdir(mode=0o700)
        taken += map(shown, _set_apart(dict(staged)))
        for partition, source in staged:
            _keep_links(source, partition)
            if found := list(collisions(source, merged)):
                taken += [shown(each.relative_to(merged)) for each in found]
            elif not taken:
                merge(source, merged)
    except OSError as error:
        raise CannotExtract(f"The results cannot be merged: {error.strerror}.") from error
    if taken:
        raise ResultsNotMerged(taken)


def _set_apart(folders: Mapping[str, Path]) -> Iterator[Path]:
    """Rename what several of these folders, which are one folder of the tree, have and which is no folder itself.

    Gives each name that this would give to something else too, which is not renamed.
    """
    with ExitStack() as opened:
        waiting = [(Path(), folders)]
        while waiting:
            at, folders = waiting.pop()
            for folder in folders.values():
                open_to_owner(folder, opened)
            owners = _owners(folders)
            for name, partitions in sorted(owners.items()):
                if len(partitions) == 1 and not (at == Path() and name in ALWAYS):
                    continue
                inner = {partition: folders[partition] / name for partition in partitions}
                for partition in [partition for partition in partitions if not is_folder(inner[partition])]:
                    path = inner.pop(partition)
                    if (new := f"{name}.{partition}") in owners:
                        yield at / new
                    else:
                        path.rename(path.with_name(new))
                if len(inner) > 1:
                    waiting.append((at / name, inner))


def _owners(folders: Mapping[str, Path]) -> dict[str, list[str]]:
    """The parts that have each name."""
    found: dict[str, list[str]] = {}
    for partition, folder in folders.items():
        for child in folder.iterdir():
            found.setdefault(child.name, []).append(partition)
    return found


def _keep_links(root: Path, partition: str) -> None:
    """Make links that hang since something was renamed lead there."""
    links: list[Path] = []
    with ExitStack() as opened:
        folders = [root]
        while folders:
            folder = folders.pop()
            open_to_owner(folder, opened)
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(Path(entry.path))
                    elif entry.is_symlink():
                        links.append(Path(entry.path))
        for link in links:  # when all folders are open, because a link may lead into any of them
            _keep_link(link, root, partition)


def _keep_link(link: Path, root: Path, partition: str) -> None:
    text = str(link.readlink())
    renamed = f"{text}.{partition}"
    target = Path(os.path.normpath(link.parent / renamed))
    if text.startswith("/") or os.path.lexists(link.parent / text) or not target.is_relative_to(root):
        return
    if os.path.lexists(target):
        link.unlink()
        link.symlink_to(renamed)
