"""What is told of a module by its bytes alone."""

import pytest

from compute.engines.wasm.module_bytes import MAGIC, memories, problem
from tests.wasm_modules import exits, made


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"", "no WebAssembly"), (MAGIC + b"\x0d\0\1\0", "component"), (MAGIC + b"\2\0\0\0", "another version")],
)
def test_what_is_no_module_is_told(content: bytes, told: str) -> None:
    assert told in problem(content)


def test_a_module_is_one() -> None:
    assert problem(exits(0)) == ""


@pytest.mark.parametrize(("text", "number"), [("", 0), ("(memory 1)", 1), ("(memory 1) (memory 2)", 2)])
def test_memories_of_a_module_are_counted(text: str, number: int) -> None:
    assert memories(made(f"(module {text})")) == number


@pytest.mark.parametrize("content", [b"\x05", b"\x05\xff\xff\xff\xff\xff\xff", b"\x00\xff\xff\xff\xff\x0fx"])
def test_of_a_damaged_module_some_number_is_told(content: bytes) -> None:
    assert memories(MAGIC + b"\1\0\0\0" + content) >= 0
