"""Notes of shared views: which view of its inputs an execution has in common with others, and what is in it.

    <execution>/inputs/<number>.view    another name of the note of the view of which the input of that number is

So a note with more than one name is of a view in use, also after a restart of the node, and what removes the folder of
an execution gives up its views without knowing of them. Nothing in there leads out of the folder.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

SUFFIX = ".view"
_MOST_BYTES = 16 << 20


class Unpacked(NamedTuple):
    """One archive of a view: `raw_bytes` of files came out of it, which take `disk_bytes`.

    So many links were left out because they lead out of the result, and `links` are some of them.
    """

    raw_bytes: int
    disk_bytes: int
    links_left_out: int = 0
    links: tuple[str, ...] = ()


class ViewNote(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a task has by a view: `disk_bytes` in all, and the archives of which these are. `view` is what it is called.

    `own_bytes` are in the view alone, and in no file of the node's cache.
    """

    view: str
    disk_bytes: int
    own_bytes: int
    unpacked: tuple[Unpacked, ...] = ()


def link_of(inputs: Path, number: int) -> Path:
    """Where in the folder of an execution's inputs the note of one of them has its other name."""
    return inputs / f"{number}{SUFFIX}"


def read_note(path: Path) -> ViewNote:
    """Blocks. Raises OSError, msgspec.MsgspecError."""
    with path.open("rb") as file:
        return msgspec.json.decode(file.read(_MOST_BYTES), type=ViewNote)


def viewed_bytes(inputs: Path) -> int:
    """What all views of an execution take on the disk. Blocks."""
    return sum(note.disk_bytes for note in _notes(inputs))


def _notes(inputs: Path) -> Iterator[ViewNote]:
    with contextlib.suppress(FileNotFoundError):
        for path in inputs.iterdir():
            if path.name.endswith(SUFFIX):
                with contextlib.suppress(FileNotFoundError, msgspec.MsgspecError):
                    yield read_note(path)
