"""The program that runs calls: `python run_calls.py OUTPUTS`, beside what was sent with it.

`calls.json` says which Python has packed them, how large they are, and which buffers each has in `shared`; `calls.bin`
has them, one after the other. Each part takes those whose turn it is. What comes of one is a line of `values.jsonl`;
what is large lies beside it, and what a call has written into its working directory too.
"""

import contextlib
import importlib
import io
import json
import mmap
import os
import pickle
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

MOST_TEXT = 1 << 20
"""Of what a call prints, and of a traceback, so much is kept, of its end."""
PART_BYTES, LEAST_BYTES = 32 << 20, 1 << 10
"""For what all calls of a part tell in their lines; once it is used up, so little of each text and value is."""
MOST_LINE_VALUE = 64 << 10
"""A longer value goes into a file of its own."""
PROBLEM, VALUES, BESIDE, FILES, SHARED = "problem.json", "values.jsonl", "values", "files", "shared"
OTHER_PYTHON = 3


def main() -> int:
    here, outputs = Path(__file__).resolve().parent, Path(sys.argv[1]).resolve()
    sys.path.insert(0, str(here))
    told = json.loads((here / "calls.json").read_text(encoding="utf-8"))
    if list(sys.version_info[:2]) != told["python"]:
        problem = {"python": list(sys.version_info[:3]), "program": sys.executable}
        (outputs / PROBLEM).write_text(json.dumps(problem), encoding="utf-8")
        return OTHER_PYTHON
    part, parts = int(os.environ["TARPON_PARTITION_INDEX"]), int(os.environ["TARPON_PARTITION_COUNT"])
    (outputs / BESIDE).mkdir(exist_ok=True)
    left, at = PART_BYTES, 0
    with (outputs / VALUES).open("w", encoding="utf-8") as values, (here / "calls.bin").open("rb") as calls:
        for number, (size, buffers) in enumerate(told["calls"]):
            if number % parts == part:
                calls.seek(at)
                call = _Call(outputs, number, pickles=told["pickles"], most_bytes=max(LEAST_BYTES, left // 8))
                line = json.dumps(call.run(here / SHARED, calls.read(size), buffers))
                left -= len(line)
                values.write(line + "\n")
                values.flush()
            at += size
    return 0


class _Shared(pickle.Unpickler):
    """Of what several calls share, the buffers are mapped, so that none is copied and each call may change its own."""

    def __init__(self, packed: bytes, shared: Path, buffers: Sequence[str]) -> None:
        super().__init__(io.BytesIO(packed), buffers=[_mapped(shared / name) for name in buffers])
        self._shared = shared

    def persistent_load(self, pid: Any) -> Any:
        kind, name = pid
        content = (self._shared / name).read_bytes()
        return content.decode("utf-8", "surrogatepass") if kind == "str" else content


def _mapped(path: Path) -> mmap.mmap:
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)


class _Call:
    def __init__(self, outputs: Path, number: int, *, pickles: bool, most_bytes: int) -> None:
        self._data = importlib.import_module("values")
        self._outputs = outputs
        self._number = number
        self._pickles = pickles
        self._most_bytes = most_bytes
        self._beside: list[str] = []

    def run(self, shared: Path, packed: bytes, buffers: Sequence[str]) -> dict[str, Any]:
        """What its line tells."""
        folder, before = self._outputs / FILES / str(self._number), Path.cwd()
        folder.mkdir(parents=True)
        printed, complained = io.StringIO(), io.StringIO()
        told: dict[str, Any] = {"call": self._number}
        try:
            os.chdir(folder)
            with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(complained):
                function, arguments, named = _Shared(packed, shared, buffers).load()
                value = function(*arguments, **named)
            told["value"] = self._written(value)
        except self._data.NotData as why:
            self._leave_none()
            told["not_data"] = self._kept(str(why))
        except BaseException as error:  # noqa: BLE001  # also an exit is told to who has called
            self._leave_none()
            told["error"] = self._told_of(error)
        finally:
            os.chdir(before)
            with contextlib.suppress(OSError):  # it has files
                folder.rmdir()
        told["stdout"], told["stderr"] = self._kept(printed.getvalue()), self._kept(complained.getvalue())
        return told

    def _written(self, value: Any) -> Any:
        told = self._data.Writer(self._put, pickles=self._pickles).write(value)
        content = json.dumps(told).encode()
        return told if len(content) <= min(MOST_LINE_VALUE, self._most_bytes) else {"json": self._put("json", content)}

    def _put(self, suffix: str, content: bytes) -> str:
        self._beside.append(f"{BESIDE}/{self._number}-{len(self._beside)}.{suffix}")
        (self._outputs / self._beside[-1]).write_bytes(content)
        return self._beside[-1]

    def _leave_none(self) -> None:
        """Of a value that was written in part."""
        for name in self._beside:
            (self._outputs / name).unlink(missing_ok=True)

    def _told_of(self, error: BaseException) -> dict[str, Any]:
        """Whatever kind of exception it is, also one that cannot say what it is. Its arguments are told if they fit."""
        told: dict[str, Any] = {"type": type(error).__qualname__, "module": type(error).__module__, "text": ""}
        with contextlib.suppress(Exception):
            told["text"] = self._kept(str(error))
        told["traceback"] = self._kept("".join(traceback.format_exception(error)))
        with contextlib.suppress(Exception):
            arguments = self._data.Writer(_refuse_files).write(list(error.args))
            if len(json.dumps(arguments)) <= min(MOST_LINE_VALUE, self._most_bytes):
                told["arguments"] = arguments
        return told

    def _kept(self, text: str) -> str:
        """The end of it, if it is too long for the line."""
        most = min(MOST_TEXT, self._most_bytes)
        text = text[-most:].encode("utf-8", "backslashreplace").decode()
        return text if len(json.dumps(text)) <= most else text[-(most // 12) :]  # JSON takes twelve bytes at most


def _refuse_files(suffix: str, content: bytes) -> str:
    raise ValueError(f"too large for a line: {len(content)} bytes of {suffix}")


if __name__ == "__main__":
    sys.exit(main())
