"""The fixture `tarpon_stack`, for projects that test against a real Tarpon: `pip install tarpon-jobs[devstack] pytest`.

    pytest_plugins = ["tarpon.pytest_plugin"]  # in conftest.py

    def test_it(tarpon_stack):
        with tarpon_stack.client() as client:
            ...

It is a whole `tarpon devstack` on any free ports, once for all tests, and ends with them. `tarpon_stack_options` in
pytest's configuration are options of that command, such as `--computes 2 -c Engines.Types.Process.Sandbox=off`.
"""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tarpon.blocking.client import SyncClient
    from tarpon.client import Client

OPTIONS = "tarpon_stack_options"
STOP_SECONDS = 90.0
_PREFIX = "TARPON_"
_WITHIN = (
    "import json, os, sys;"
    f" print(json.dumps({{n: v for n, v in os.environ.items() if n.startswith({_PREFIX!r})}}), flush=True);"
    " sys.stdin.read()"
)
"""What the devstack runs: it tells how it is reached, and ends when nobody holds its input any more."""


class TarponStack:
    """A running devstack. `environment` is what `tarpon` and `tarpon.Client` need to find it: add it to a program's.

    It has a key; `folder` has data and logs.
    """

    def __init__(self, environment: Mapping[str, str], folder: Path) -> None:
        self.environment = dict(environment)
        self.folder = folder
        self.host = environment["TARPON_API_HOST"]
        self.port = int(environment["TARPON_API_PORT"])
        self.key = environment["TARPON_API_KEY"]

    def __repr__(self) -> str:
        return f"<TarponStack at {self.host}:{self.port}>"

    def client(self) -> "SyncClient":
        """The client without `await`. Use it with `with`."""
        from tarpon.blocking.client import SyncClient

        return SyncClient(self.host, self.port, api_key=self.key)

    def async_client(self) -> "Client":
        """Use it with `async with`."""
        from tarpon.client import Client

        return Client(self.host, self.port, api_key=self.key)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini(OPTIONS, "Options of `tarpon devstack` for the fixture tarpon_stack.", default="")


@pytest.fixture(scope="session")
def tarpon_stack(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TarponStack]:
    """A whole Tarpon of this session's own: orchestrator, nodes and S3."""
    root = tmp_path_factory.mktemp("tarpon")
    options = shlex.split(str(pytestconfig.getini(OPTIONS)))
    command = [sys.executable, "-P", "-m", "tarpon", "devstack", "--random-ports", "--data-dir", str(root / "stack")]
    log = root / "devstack.log"
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [*command, *options, "--", sys.executable, "-c", _WITHIN],
            env={name: value for name, value in os.environ.items() if not name.startswith(_PREFIX)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
        )
    try:
        assert process.stdout is not None
        told = next((line for line in process.stdout if line.startswith(b"{")), b"")
        if not told:
            pytest.fail(f"`tarpon devstack` did not start:\n{log.read_text(errors='replace')[-4000:]}", pytrace=False)
        yield TarponStack(json.loads(told), root / "stack")
    finally:
        _end(process)


def _end(process: "subprocess.Popen[bytes]") -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
