"""The program that runs calls: `python run_calls.py OUTPUTS`, beside what was sent with it.

`calls.json` says which Python has packed them and how large they are; `calls.bin` has them, one after the other. Each
part takes those whose turn it is. What comes of one is a line of `values.jsonl`; what is large lies beside it, and what
a call has written into its working directory too.
"""

import contextlib
import importlib
import io
import json
import os
import pickle
import sys
import traceback
from pathlib import Path
from typing import Any

MOST_TEXT = 1 << 20
"""Of what a call prints, and of a traceback, so many characters are kept, those at the end."""
PROBLEM, VALUES, BESIDE, FILES = "problem.json", "values.jsonl", "values", "files"
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
    with (outputs / VALUES).open("w", encoding="utf-8") as values, (here / "calls.bin").open("rb") as calls:
        at = 0
        for number, size in enumerate(told["sizes"]):
            if number % parts == part:
                calls.seek(at)
                outcome = _outcome(outputs, number, calls.read(size), pickles=told["pickles"])
                values.write(json.dumps(outcome) + "\n")
                values.flush()
            at += size
    return 0


def _outcome(outputs: Path, number: int, packed: bytes, *, pickles: bool) -> dict[str, Any]:
    data = importlib.import_module("values")
    beside: list[str] = []

    def put(suffix: str, content: bytes) -> str:
        beside.append(f"{BESIDE}/{number}-{len(beside)}.{suffix}")
        (outputs / beside[-1]).write_bytes(content)
        return beside[-1]

    writer = data.Writer(put, pickles=pickles)
    folder, before = outputs / FILES / str(number), Path.cwd()
    folder.mkdir(parents=True)
    printed, complained = io.StringIO(), io.StringIO()
    told: dict[str, Any] = {"call": number}
    try:
        os.chdir(folder)
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(complained):
            function, arguments, named = pickle.loads(packed)  # noqa: S301  # the job's author has packed it
            value = function(*arguments, **named)
        told["value"] = writer.write(value)
    except data.NotData as why:
        told["not_data"] = str(why)
    except BaseException as error:  # noqa: BLE001  # also an exit is told to who has called
        told["error"] = _told_of(error, writer, data)
    finally:
        os.chdir(before)
        with contextlib.suppress(OSError):  # it has files
            folder.rmdir()
    told["stdout"], told["stderr"] = printed.getvalue()[-MOST_TEXT:], complained.getvalue()[-MOST_TEXT:]
    return told


def _told_of(error: BaseException, writer: Any, data: Any) -> dict[str, Any]:
    text = "".join(traceback.format_exception(type(error), error, error.__traceback__))[-MOST_TEXT:]
    told: dict[str, Any] = {"type": type(error).__qualname__, "module": type(error).__module__}
    told |= {"text": str(error)[-MOST_TEXT:], "traceback": text}
    with contextlib.suppress(data.NotData):
        told["arguments"] = writer.write(list(error.args))
    return told


if __name__ == "__main__":
    sys.exit(main())
