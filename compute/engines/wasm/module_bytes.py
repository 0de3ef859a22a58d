"""Bytes of a module: what can be told of one before anything is made of it."""

from collections.abc import Iterator

MAGIC = b"\0asm"
_VERSION = b"\x01\0\0\0"
EMPTY = MAGIC + _VERSION
"""The smallest module."""
_COMPONENT = b"\x0d\0\x01\0"
_MEMORIES = 5
"""The number of the section that declares them."""
_MAX_VARINT_BYTES = 5


def problem(content: bytes) -> str:
    """Why this is no module, to go on with after its name; empty where it may be one."""
    if content[:4] != MAGIC:
        return "is no WebAssembly: it does not begin as a module does"
    if content[4:8] == _COMPONENT:
        return "is a component; modules with WASI preview 1 are run, so build it for wasm32-wasip1"
    return "" if content[4:8] == _VERSION else "is WebAssembly of another version"


def memories(content: bytes) -> int:
    """How many a module says that it has of its own. Of one that is damaged any number, for it will not compile."""
    try:
        return sum(_number(content, start)[0] for section, start in _sections(content) if section == _MEMORIES)
    except IndexError:
        return 0


def _sections(content: bytes) -> Iterator[tuple[int, int]]:
    """The number of each, and where its content begins."""
    at = len(MAGIC) + len(_VERSION)
    while at < len(content):
        section = content[at]
        size, at = _number(content, at + 1)
        yield section, at
        at += size


def _number(content: bytes, at: int) -> tuple[int, int]:
    """One in LEB128, and where the next thing begins. Raises IndexError."""
    value = 0
    for place in range(_MAX_VARINT_BYTES):
        byte = content[at + place]
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return value, at + place + 1
    raise IndexError(at)
