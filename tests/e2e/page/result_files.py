"""Files of results as tasks of all kinds leave them, well and ill-meant (no tests in here)."""

import base64
import json
import os
import shutil
import struct
import zlib
from pathlib import Path
from typing import Any

from tests.e2e.stack import Stack, process_job

FIXTURES = Path(__file__).parents[2] / "fixtures" / "page"
WITH_FOLDER = {"ResultPaths": [{"Name": "outputs", "Path": "/outputs"}]}
GIF = base64.b64decode("R0lGODlhAQABAIAAAP///wAAACwAAAAAAQABAAACAkQBADs=")
ATTACK = "document.title = 'attacked'"
HOSTILE_NAMES = (
    f'<img src=x onerror="{ATTACK}">',
    "\u202egnp.txt",
    "a\nb",
    "__proto__",
    "constructor",
    "'; alert(1)",
    "-rf",
)
HOSTILE_FILES = {
    "script.svg": f"""<svg xmlns="http://www.w3.org/2000/svg" width="40" height="40" onload="{ATTACK}">
        <script>{ATTACK}</script><image href="http://127.0.0.1:9/left.png"/><rect width="40" height="40"/></svg>""",
    "page.html": f"<html><body onload=\"{ATTACK}\"><script>{ATTACK}</script><img src='http://127.0.0.1:9/left.png'></html>",
    "formula.csv": f"name,value\n=cmd(),1\n<script>{ATTACK}</script>,2\n__proto__,3\n",
    "proto.json": '{"__proto__": {"polluted": 1}, "constructor": "<script>"}',
    "deep.json": "[" * 100_000 + "]" * 100_000,
    "keys.jsonl": "".join(f'{{"{number}": 1}}\n' for number in range(20_000)),
    "commas.csv": "," * 200_000,
    "line.txt": "x" * 1_000_000,
    "escape.log": "\x1b[31mred\x1b[0m\u202edesrever\n",
}


def png(width: int, height: int) -> bytes:
    """A grey picture."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = zlib.compress((b"\0" + b"\x80" * width) * height)
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def plant_kinds(folder: Path) -> None:
    """A file of each kind that can be looked at."""
    (folder / "deep" / "down").mkdir(parents=True)
    (folder / "deep" / "down" / "notes.txt").write_text("one\ntwo\nthree\n")
    (folder / "picture.png").write_bytes(png(60, 30))
    (folder / "dot.gif").write_bytes(GIF)
    lines = [f"{at},{1 / (at + 1):.4f},t{at % 3}\n" for at in range(300)]
    (folder / "table.csv").write_text("step,loss,tag\n" + "".join(lines))
    (folder / "table.json").write_text(json.dumps({"name": "run", "scores": [1, 2, 3]}))
    (folder / "table.jsonl").write_text("".join(json.dumps({"step": at, "ok": at % 2 == 0}) + "\n" for at in range(5)))
    (folder / "latin.txt").write_bytes(b"gr\xfc\xdfe\n")
    (folder / "bytes.bin").write_bytes(bytes(range(256)))
    (folder / "empty").touch()
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }".ljust(117) + b"\n"
    array = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + struct.pack("<6f", *range(6))
    (folder / "array.npy").write_bytes(array)
    (folder / "link").symlink_to("deep/down/notes.txt")
    (folder / "out").symlink_to("../../secret")
    os.link(folder / "table.csv", folder / "twin.csv")
    for each in FIXTURES.iterdir():
        shutil.copy(each, folder)


def plant_hostile(folder: Path) -> None:
    for name in HOSTILE_NAMES:
        (folder / name).write_text(f"content of {name}\n")
    for name, content in HOSTILE_FILES.items():
        (folder / name).write_text(content)
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff\xfe.txt")).write_text("not UTF-8\n")


def completed(stack: Stack, script: str, **more: Any) -> str:
    """The id of a job that has run this in the folder above `outputs`."""
    job = stack.submit(process_job(script, **WITH_FOLDER) | more)
    assert stack.wait_ended(job)["Job"]["State"]["StateType"] == "Completed"
    return job
