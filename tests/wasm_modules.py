"""WebAssembly modules for tests, written as text and made by the runtime itself (no tests in here)."""

from functools import cache

WASI = "wasi_snapshot_preview1"
CREATE, TRUNCATE = 1, 8
READ, WRITE = 0x2, 0x40
ACCESS, EXISTS, NOT_CAPABLE, NOT_PERMITTED, NO_ENTRY, READ_ONLY, LOOP = 2, 20, 76, 63, 44, 69, 32
"""Errors of WASI."""

_IMPORTS = f"""
  (import "{WASI}" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "{WASI}" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
  (import "{WASI}" "path_open" (func $path_open
    (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "{WASI}" "path_symlink" (func $path_symlink (param i32 i32 i32 i32 i32) (result i32)))
  (import "{WASI}" "poll_oneoff" (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
  (import "{WASI}" "args_sizes_get" (func $args_sizes_get (param i32 i32) (result i32)))
  (import "{WASI}" "args_get" (func $args_get (param i32 i32) (result i32)))
  (import "{WASI}" "environ_sizes_get" (func $environ_sizes_get (param i32 i32) (result i32)))
  (import "{WASI}" "environ_get" (func $environ_get (param i32 i32) (result i32)))
  (import "{WASI}" "proc_exit" (func $proc_exit (param i32)))
"""
_SAYS = """
  (func $say (param $at i32) (param $size i32)
    (i32.store (i32.const 0) (local.get $at)) (i32.store (i32.const 4) (local.get $size))
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
"""


@cache
def made(text: str) -> bytes:
    from wasmtime import wat2wasm

    return bytes(wat2wasm(text))


def module(body: str, *, memory: str = '(memory (export "memory") 4)', more: str = "") -> bytes:
    """One whose _start does this."""
    return made(f'(module {_IMPORTS} {memory} {_SAYS} {more} (func (export "_start") {_LOCALS} {body}))')


_OPENED = "(local.set $fd (i32.load (i32.const 16)))"
_LOCALS = "(local $fd i32) (local $error i32) (local $n i32)"


def _data(at: int, text: str) -> str:
    escaped = "".join(f"\\{byte:02x}" for byte in text.encode())
    return f'(data (i32.const {at}) "{escaped}")'


def says(text: str, then: str = "") -> bytes:
    return module(f"(call $say (i32.const 1024) (i32.const {len(text.encode())})) {then}", more=_data(1024, text))


def exits(code: int) -> bytes:
    return module(f"(call $proc_exit (i32.const {code}))")


def sleeps(seconds: float, then: str = "") -> bytes:
    """After it has said `asleep`; without anything that could be interrupted."""
    subscription = f"(i64.store (i32.const 2072) (i64.const {int(seconds * 1e9)}))"
    wait = "(drop (call $poll_oneoff (i32.const 2048) (i32.const 3072) (i32.const 1) (i32.const 4000)))"
    # The clock that counts from any time has the number 1.
    clock = "(i32.store (i32.const 2064) (i32.const 1))"
    return says("asleep\n", f"{clock} {subscription} {wait} {then}")


def loops() -> bytes:
    return says("round\n", "(loop $again (br $again))")


def grows(pages: int, *, memory: str = '(memory (export "memory") 4)') -> bytes:
    """Exits with 1 if it did not get so many more pages, of 64 KiB."""
    return module(f"(call $proc_exit (i32.eq (memory.grow (i32.const {pages})) (i32.const -1)))", memory=memory)


def opens(fd: int, path: str, *, flags: int = 0, rights: int = READ) -> bytes:
    """Exits with what came of it: 0, or the error's number."""
    call = _open(fd, 1024, len(path.encode()), flags=flags, rights=rights)
    return module(f"(call $proc_exit {call})", more=_data(1024, path))


def links_and_opens(fd: int, target: str) -> bytes:
    """Makes a link to there, and opens it. Exits with the error of the first of these that had one."""
    old, new = f"(i32.const 1024) (i32.const {len(target.encode())})", "(i32.const 1000) (i32.const 4)"
    made_link = f"(local.set $error (call $path_symlink {old} (i32.const {fd}) {new}))"
    stop = "(if (local.get $error) (then (call $proc_exit (local.get $error))))"
    return module(
        f"{made_link} {stop} (call $proc_exit {_open(fd, 1000, 4)})",
        more=_data(1024, target) + _data(1000, "link"),
    )


def copies(source: int, name: str, target: int, copy: str) -> bytes:
    """The beginning of a file in one folder into another one."""
    return module(
        f"""
        (local.set $error {_open(source, 1024, len(name))})
        (if (local.get $error) (then (call $proc_exit (local.get $error))))
        (i32.store (i32.const 0) (i32.const 8192)) (i32.store (i32.const 4) (i32.const 65536))
        (drop (call $fd_read (i32.load (i32.const 16)) (i32.const 0) (i32.const 1) (i32.const 8)))
        (local.set $error {_open(target, 1100, len(copy), flags=CREATE | TRUNCATE, rights=WRITE)})
        (if (local.get $error) (then (call $proc_exit (local.get $error))))
        (i32.store (i32.const 4) (i32.load (i32.const 8)))
        (drop (call $fd_write (i32.load (i32.const 16)) (i32.const 0) (i32.const 1) (i32.const 8)))
        """,
        more=_data(1024, name) + _data(1100, copy),
    )


def fills(fd: int, *, name: str = "much") -> bytes:
    """Writes to a file of that folder, or to what is open already, without an end."""
    opened = f"(drop {_open(fd, 1024, len(name), flags=CREATE, rights=WRITE)}) {_OPENED}"
    return module(
        f"""
        (local.set $fd (i32.const {fd})) {opened if fd > 2 else ""}
        (i32.store (i32.const 0) (i32.const 8192)) (i32.store (i32.const 4) (i32.const 65536))
        (loop $again
          (drop (call $fd_write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8))) (br $again))
        """,
        more=_data(1024, name),
    )


def tells_arguments_and_variables() -> bytes:
    """Each ends with a NUL."""
    return module(
        """
        (drop (call $args_sizes_get (i32.const 16) (i32.const 20)))
        (drop (call $args_get (i32.const 1024) (i32.const 8192)))
        (call $say (i32.const 8192) (i32.load (i32.const 20)))
        (drop (call $environ_sizes_get (i32.const 16) (i32.const 20)))
        (drop (call $environ_get (i32.const 1024) (i32.const 8192)))
        (call $say (i32.const 8192) (i32.load (i32.const 20)))
        """
    )


def recurses() -> bytes:
    return module("(call $deeper)", more="(func $deeper (call $deeper))")


def exporter() -> bytes:
    return made('(module (func (export "answer") (result i32) (i32.const 42)))')


def uses(library_name: str) -> bytes:
    """Exits with what the library answers."""
    return made(
        f'(module (import "{library_name}" "answer" (func $answer (result i32)))'
        f' (import "{WASI}" "proc_exit" (func $proc_exit (param i32)))'
        ' (memory (export "memory") 1) (func (export "_start") (call $proc_exit (call $answer))))'
    )


def _open(fd: int, at: int, size: int, *, flags: int = 0, rights: int = READ) -> str:
    return (
        f"(call $path_open (i32.const {fd}) (i32.const 1) (i32.const {at}) (i32.const {size})"
        f" (i32.const {flags}) (i64.const {rights}) (i64.const 0) (i32.const 0) (i32.const 16))"
    )
