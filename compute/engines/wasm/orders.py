"""Orders to the helper of the wasm engine, and what it and its processes report: the shapes that travel between them.

An order is one message to the helper: its kind, and descriptors in the order of RUN_DESCRIPTORS or COMPILE_DESCRIPTORS.
The first of these is the channel of the process that is forked for it: reports come there, from the helper and from the
process, and the end of the channel is the end of both. What the order says is in a file in memory, the second one.
"""

import os
from typing import TypeAlias

import msgspec

RUN, COMPILE = b"run", b"compile"
RUN_DESCRIPTORS = ("channel", "order", "stdout", "stderr")
"""Those of the compiled modules follow."""
COMPILE_DESCRIPTORS = ("channel", "order", "source", "compiled")
MAX_IMPORTS = 32
MAX_DESCRIPTORS = len(RUN_DESCRIPTORS) + MAX_IMPORTS + 1
MAX_REPORT_BYTES = 16384
MAX_WORDS = 2000
"""Of what a process says about a module."""


class Folder(msgspec.Struct, frozen=True, kw_only=True):
    """What a module finds under `seen_as`, and at `path` on the machine."""

    path: str
    seen_as: str
    is_writable: bool = False


class RunOrder(msgspec.Struct, frozen=True, kw_only=True):
    """The modules are linked in the order of their descriptors, each under its `names`; the last one is run.

    `memories` of `memory_bytes` each are possible in all of them together; 0 is no limit of their size. No more than
    `most_bytes` of memory are for everything that the process has of its own; 0 is no limit either.
    """

    names: tuple[tuple[str, ...], ...]
    entrypoint: str
    arguments: tuple[str, ...]
    variables: dict[str, str]
    folders: tuple[Folder, ...]
    memories: int
    memory_bytes: int
    most_bytes: int
    umask: int | None = None
    """The node's own without."""


class CompileOrder(msgspec.Struct, frozen=True, kw_only=True):
    seconds: int
    """Of processor time."""
    most_bytes: int
    """Of memory, and of what is written."""


class ProcessForked(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """From the helper, with a descriptor of the process."""

    pid: int


class ProcessNotForked(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    error: int


class ModuleExited(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The module has returned, or has asked for its end."""

    code: int


class ModuleTrapped(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    words: str


class ModuleRejected(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The module cannot be compiled, linked or begun."""

    words: str
    wants_memory: bool = False


class ModuleUnusable(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """What was compiled of the module of this number is nothing that this runtime takes."""

    number: int


class ModuleCompiled(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    pass


class ProcessReaped(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """From the helper: how the process has ended, as os.waitstatus_to_exitcode tells it, and what it had at most."""

    exit_code: int
    peak_bytes: int


OfModule: TypeAlias = ModuleExited | ModuleTrapped | ModuleRejected | ModuleUnusable | ModuleCompiled
Report: TypeAlias = ProcessForked | ProcessNotForked | OfModule | ProcessReaped

encoder = msgspec.msgpack.Encoder()
reports = msgspec.msgpack.Decoder[Report](Report)
run_orders = msgspec.msgpack.Decoder(RunOrder)
compile_orders = msgspec.msgpack.Decoder(CompileOrder)


def content_of(descriptor: int) -> bytes:
    """All of a file in memory."""
    left, found = os.fstat(descriptor).st_size, bytearray()
    while len(found) < left and (more := os.pread(descriptor, left - len(found), len(found))):
        found += more
    return bytes(found)


def in_memory(name: str, content: bytes) -> int:
    """A descriptor of a file in memory with this content. Raises OSError."""
    descriptor = os.memfd_create(name)
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
