"""How a command of Bacalhau's client is tried: it has to end well and to print what it is asked for."""

import json
import re
import shlex
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from tests.matrix.cells import Check
from tests.matrix.client_commands import COMMANDS, FILES, WASM, Command, job_file
from tests.servers import HOST

SECONDS = 90.0
SETTINGS = "DisableAnalytics: true\nUpdateConfig: {Interval: 0s}\n"
VARIABLES = {"greeting": "hail", "whom": "all"}
"""For templates that take the environment."""
_COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_CAPITALS = re.compile(r"\b[A-Z][A-Z_]{3,}\b|\bJOB\b")


class ClientBench:
    """The client in a home of its own, in which nothing is set but where the server is, and what lets it in there."""

    def __init__(self, program: str, folder: Path, port: int, variables: Mapping[str, str]) -> None:
        self._program = program
        self._folder = folder
        data = folder / "client"
        data.mkdir(parents=True)
        (data / "config.yaml").write_text(SETTINGS)
        for name, content in FILES.items():
            (folder / name).write_text(content)
        (folder / "main.wasm").write_bytes(WASM)
        self._environment = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(folder),
            "BACALHAU_DIR": str(data),
            "BACALHAU_API_HOST": HOST,
            "BACALHAU_API_PORT": str(port),
            "BACALHAU_UPDATE_CHECKER_ENDPOINT": f"http://{HOST}:1/",
            **VARIABLES,
            **variables,
        }
        for words in (("config", "list"), ("node", "list"), ("config", "list")):
            self.run(*words)  # the first ones tell that they make and change its home
        self._words: dict[str, Callable[[], str]] = {
            "JOB": lambda: self.job,
            "NAME": lambda: "ended",
            "SHORT": lambda: self.job[:10],
            "VERSIONED": lambda: self.versioned,
            "RUNNING": lambda: self.running,
            "STOPPABLE": self._starts,
            "EXECUTION": lambda: self.execution,
            "NODE": lambda: self.node,
            "NODE_BEGINNING": lambda: self.node[:-1],
            "TOKEN": lambda: self.token,
            "FOLDER": lambda: tempfile.mkdtemp(dir=self._folder),
        }

    def run(self, *words: str, stdin: str = "") -> str:
        """What it prints. Raises AssertionError where it does not end well."""
        try:
            done = subprocess.run(
                [self._program, *words],
                input=stdin,
                env=self._environment,
                cwd=self._folder,
                capture_output=True,
                text=True,
                check=False,
                timeout=SECONDS,
            )
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it does not end within {SECONDS:g} s.") from None
        printed, told = _COLOURS.sub("", done.stdout), _COLOURS.sub("", done.stderr)
        assert done.returncode == 0, f"it ends with {done.returncode}: {(told.strip() or printed.strip())[-250:]}"
        return printed

    def try_command(self, command: Command) -> None:
        known = cache(lambda name: self._words[name]())

        def filled(text: str) -> str:
            return _CAPITALS.sub(lambda found: known(found[0]) if found[0] in self._words else found[0], text)

        words = [filled(word) for word in shlex.split(command.line)]
        printed = self.run(*words, stdin=FILES[command.stdin] if command.stdin else "")
        assert re.search(filled(command.shows), printed), f"it prints {printed[:200]!r}."

    @cached_property
    def job(self) -> str:
        return self._submitted("ended", "echo hello; echo file > /outputs/file", "--wait")

    @cached_property
    def versioned(self) -> str:
        self._submitted("versioned", "echo first", "--wait")
        return self._submitted("versioned", "echo second", "--wait")

    @cached_property
    def running(self) -> str:
        return self._starts()

    def _starts(self) -> str:
        job = self._submitted("", "while :; do sleep 0.1; done", "--wait=false")
        deadline = time.monotonic() + SECONDS
        while self._json("job", "describe", job)["Job"]["State"]["StateType"] != "Running":
            assert time.monotonic() < deadline, "a job does not begin to run"
            time.sleep(0.2)
        return job

    @cached_property
    def execution(self) -> str:
        return str(self._json("job", "executions", self.job)[0]["ID"])

    @cached_property
    def node(self) -> str:
        nodes = self._json("node", "list")
        return str(next(each["Info"]["NodeID"] for each in nodes if each["Info"]["NodeType"] == "Compute"))

    @cached_property
    def token(self) -> str:
        found = re.search(r"--next-token (\S+)", self.run("job", "list", "--limit", "1"))
        assert found, "a list of one has no next page"
        return found[1]

    def _submitted(self, name: str, words: str, *flags: str) -> str:
        return self.run("job", "run", "--id-only", *flags, stdin=job_file(name, words)).strip()

    def _json(self, *words: str) -> Any:
        return json.loads(self.run(*words, "--output", "json"))


def _check(command: Command) -> Check[ClientBench]:
    reads = f" < {command.stdin}" if command.stdin else ""
    return Check(f"`{command.line}{reads}`", lambda bench: bench.try_command(command))


CHECKS: Sequence[Check[ClientBench]] = tuple(map(_check, COMMANDS))
