"""The program of a node, run as it is there: what it tells of calls, whatever these do."""

import json
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tarpon.executor.packing import LEAST_SHARED_BYTES, PROGRAM, PackedCall, Packer, write_batch
from tarpon.executor.reading import Reader
from tarpon.executor.told import ToldCall, long_value, names_beside, parsed, told_calls


def run(folder: Path, calls: list[PackedCall], *, pickles: bool = False) -> list[ToldCall]:
    (folder / "calls").mkdir()
    (folder / "outputs").mkdir()
    write_batch(folder / "calls", calls, pickles=pickles)
    environment = os.environ | {"TARPON_PARTITION_INDEX": "0", "TARPON_PARTITION_COUNT": "1"}
    subprocess.run(
        [sys.executable, "-I", folder / "calls" / PROGRAM, "outputs"], cwd=folder, env=environment, check=True
    )
    told = list(told_calls((folder / "outputs" / "values.jsonl").read_bytes()))
    assert [each.call for each in told] == list(range(len(calls))), "a call cost those after it"
    return told


def run_one(folder: Path, function: Callable[..., Any], *arguments: Any, pickles: bool = False) -> ToldCall:
    last = Packer().packed(len, ["last"], {})
    return run(folder, [Packer().packed(function, arguments, {}), last], pickles=pickles)[0]


def value(folder: Path, told: ToldCall) -> Any:
    assert told.error is None, told.error
    asked = parsed(told.value)
    if long := long_value(asked, told.call):
        asked = parsed((folder / "outputs" / long).read_bytes())
    names = names_beside(asked, told.call)
    return Reader({name: (folder / "outputs" / name).read_bytes() for name in names}).read(asked)


class Mute(Exception):
    def __str__(self) -> str:
        raise LookupError


class Locked(Exception):
    def __init__(self) -> None:
        super().__init__(threading.Lock())


@pytest.mark.parametrize("pickles", [False, True])
@pytest.mark.parametrize("kind", [Mute, Locked])
def test_exceptions_that_cannot_be_told_whole_cost_no_other_call(
    tmp_path: Path, kind: type[Exception], *, pickles: bool
) -> None:
    def fail() -> None:
        raise kind

    error = run_one(tmp_path, fail, pickles=pickles).error
    assert error is not None
    assert error.type == kind.__name__
    assert "in fail" in error.traceback


@pytest.mark.parametrize("stop", [SystemExit, KeyboardInterrupt])
def test_an_exit_of_a_call_is_its_error(tmp_path: Path, stop: type[BaseException]) -> None:
    def leave() -> None:
        raise stop

    error = run_one(tmp_path, leave).error
    assert error is not None
    assert error.type == stop.__name__


def test_text_of_any_length_and_kind_leaves_the_line_short(tmp_path: Path) -> None:
    def shout() -> None:
        sys.stdout.write("\udc80\0\U0001f600" * (1 << 20))
        raise ValueError("\udc80" * (1 << 20))

    calls = [Packer().packed(shout, [], {}) for _ in range(3)]
    told = run(tmp_path, calls)
    assert told[0].stdout.endswith("\0\U0001f600")
    assert (tmp_path / "outputs" / "values.jsonl").stat().st_size < 24 << 20


def test_a_long_value_lies_beside_and_comes_back(tmp_path: Path) -> None:
    def numbers() -> list[Any]:
        return [*range(100_000), b"x" * 100_000]

    told = run_one(tmp_path, numbers)
    assert len(bytes(told.value)) < 100
    assert value(tmp_path, told) == numbers()


def test_of_a_value_that_turns_out_to_be_none_nothing_is_left(tmp_path: Path) -> None:
    def half() -> list[Any]:
        return [b"x" * 100_000, object()]

    assert run_one(tmp_path, half).not_data == "it is of the type builtins.object"
    assert not list((tmp_path / "outputs" / "values").iterdir())


class Buffer:
    """As arrays of numpy are pickled."""

    def __init__(self, content: bytearray) -> None:
        self.content = content

    def __reduce_ex__(self, protocol: Any) -> Any:
        return memoryview, (pickle.PickleBuffer(self.content),)


def test_what_several_calls_have_is_sent_once_and_each_may_change_its_own(tmp_path: Path) -> None:
    def change(view: Any, content: bytes, text: str) -> list[Any]:
        before, view[0] = bytes(view[:1]), 7
        return [before, len(view), len(content), len(text)]

    packer, size = Packer(), LEAST_SHARED_BYTES
    arguments = [Buffer(bytearray(size)), b"b" * size, "\udc80" * size]
    calls = [packer.packed(change, arguments, {}) for _ in range(3)]
    assert [value(tmp_path, told) for told in run(tmp_path, calls)] == [[b"\0", size, size, size]] * 3
    assert len(list((tmp_path / "calls" / "shared").iterdir())) == 3
    assert calls[0].new_bytes > 3 * size
    assert calls[1].new_bytes < size


def test_an_argument_that_changes_between_calls_is_another_one(tmp_path: Path) -> None:
    def first(view: Any) -> int:
        return int(view[0])

    packer, content = Packer(), bytearray(LEAST_SHARED_BYTES)
    calls = [packer.packed(first, [Buffer(content)], {})]
    content[0] = 9
    calls.append(packer.packed(first, [Buffer(content)], {}))
    assert [value(tmp_path, told) for told in run(tmp_path, calls)] == [0, 9]


def test_no_two_batches_have_the_same_content(tmp_path: Path) -> None:
    call = Packer().packed(len, ["x"], {})
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_batch(tmp_path / name, [call], pickles=False)
    assert (tmp_path / "a" / "calls.json").read_text() != (tmp_path / "b" / "calls.json").read_text()
    assert json.loads((tmp_path / "a" / "calls.json").read_text())["calls"] == [[len(call.content), []]]
