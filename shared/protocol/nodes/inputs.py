"""Inputs on the wire: a node asks which objects an execution reads, and for the URLs to read them by.

Which they are was found out when the job was submitted, and never changes: a node may ask again for any of them, also
after it was started anew, and is given fresh URLs for the same objects. Kinds of inputs that a node reads by itself,
such as what a job has inline, are not among them.
"""

import hashlib
from typing import Annotated

import msgspec

from shared.ids import ExecutionId
from shared.protocol.nodes.message import Message
from shared.protocol.signed_url import SignedUrl

MAX_FILES_AT_ONCE = 64
"""In one answer, which has to fit into a message."""

MOST_HELD_INPUTS = 64
"""Of which a node tells that it has them: views, the last ones used, and large files."""
LARGE_BYTES = 16 << 20
"""A file that is smaller is read again in less time than it is worth to wait for its node."""
_HELD_CHARACTERS = 16

HeldInputs = Annotated[
    tuple[Annotated[str, msgspec.Meta(max_length=_HELD_CHARACTERS)], ...], msgspec.Meta(max_length=MOST_HELD_INPUTS)
]

Size = Annotated[int, msgspec.Meta(ge=0, le=1 << 62)]


def kept_name(content: str) -> str:
    """By what a node keeps the file that has this `InputFile.content`."""
    return hashlib.sha256(content.encode(errors="surrogatepass")).hexdigest()


def kept_view_name(content: str) -> str:
    """By what a node keeps the view that it has made of the list with this `InputList.content`."""
    return kept_name(f"view {content}")


def held_name(kept: str) -> str:
    """How a node tells that it keeps it: enough to tell it from others, and too little to be of any other use."""
    return kept[:_HELD_CHARACTERS]


class InputsRequest(Message, frozen=True, kw_only=True, tag="InputsRequest"):
    """The files of this execution's inputs from number `first` on, which may be fewer than `count`.

    `s3_code` is what S3 said to the last URL, where it said something.
    """

    execution_id: ExecutionId
    first: int = 0
    count: int = MAX_FILES_AT_ONCE
    s3_code: str = ""


class InputIndex(msgspec.Struct, frozen=True, kw_only=True):
    """The index beside an archive (shared/protocol/archive_index.py), with the digest that was recorded, in hex."""

    size: Size
    sha256: str
    url: SignedUrl


class InputFile(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One object that a task reads, and where it sees it.

    `source` is which of the task's InputSources it belongs to, and `path` where it is below that one's target: empty
    where the target is the file itself. A `sha256`, in hex, is that of its bytes; without one `etag` is what S3 must
    still call it, quotes included. `content` is the same for the same bytes, whatever they are called, and a node may
    keep them by it; without one it must not. An `archive` is a result as its node published it, and is unpacked at
    `path`: all of it, or what is at these `members`, of which its `index` says where they are.
    """

    source: int
    path: str = ""
    size: Size
    etag: str = ""
    sha256: str = ""
    content: str = ""
    executable: bool = False
    archive: bool = False
    members: tuple[str, ...] = ()
    index: InputIndex | None = None
    url: SignedUrl


class InputList(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All that an execution reads of one of its task's InputSources: `count` files, which follow each other.

    `content` is the same for the same files at the same paths, and for nothing else: a node may keep by it what it has
    made of them, and give that to other tasks. Without one it must not. `archive` is of results, which are unpacked.
    """

    source: int
    count: Size
    size: Size
    content: str = ""
    archive: bool = False


class InputsGiven(Message, frozen=True, kw_only=True, tag="InputsGiven"):
    """Some of them, in order, and how many and how large all are together. None after the last one.

    `lists` are what all of them belong to, in order; an earlier orchestrator tells none. They never change.
    """

    files: tuple[InputFile, ...] = ()
    total: Size = 0
    total_bytes: Size = 0
    lists: tuple[InputList, ...] = ()
