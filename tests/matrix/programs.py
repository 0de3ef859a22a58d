"""Where the programs of peers are found, and which version each is."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from tests.matrix.cells import NotHere

FOLDERS = "MATRIX_PEERS"
"""The variable that names folders, separated by colons, in which peers are looked for before PATH."""


def find(name: str) -> str:
    """Raises NotHere."""
    places = os.pathsep.join([os.environ.get(FOLDERS, ""), os.environ.get("PATH", os.defpath)])
    found = shutil.which(name, path=places.strip(os.pathsep))
    if found is None:
        raise NotHere(f"{name} is neither on PATH nor in a folder of {FOLDERS}.")
    return found


def version(program: str, *arguments: str) -> str:
    """As the program says it; as Go noted it, of one that was built without a release's number."""
    module = _module(program)
    if module:
        return module
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False, timeout=30)
    return version_in(done.stdout + done.stderr)


def version_in(told: str) -> str:
    """Not after a letter: `go1.26` is what the program was built with."""
    found = re.search(r"(?<![A-Za-z0-9.])v?(\d+\.\d+(\.\d+)*([-.]?[A-Za-z0-9]+)*)", told)
    return found[1] if found else "of unknown version"


def _module(program: str) -> str:
    go = shutil.which("go")
    if go is None or not Path(program).is_file():
        return ""
    told = subprocess.run([go, "version", "-m", program], capture_output=True, text=True, check=False).stdout
    found = re.search(r"^\s+mod\s+\S+\s+v(\S+)", told, re.MULTILINE)
    return found[1].removesuffix("+incompatible") if found else ""
