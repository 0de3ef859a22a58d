"""Tasks in containers that want what is the node's, the machine's or a neighbour's: none of them gains anything."""

import http.server
import json
import secrets
import socket
import subprocess
import threading
import urllib.request
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import ended
from tests.e2e.container_attempts import (
    ONE_AFTER_THE_OTHER,
    PATHS,
    PROCESSES,
    ContainerAttempt,
    attempts,
    containers,
)
from tests.e2e.stack import Stack
from tests.engine import IMAGE, TestEngine
from tests.servers import HOST, S3Server

NODE = "node-walled"
LONGEST_SECONDS = 60


@dataclass
class Outside:
    """What is none of a task's business. `words` are what no task may get to know, each of one place."""

    stack: Stack
    folder: Path
    port: int
    socket: Path
    words: dict[str, str] = field(default_factory=dict)
    neighbour: str = ""
    neighbour_pid: int = 0

    @property
    def file(self) -> Path:
        return self.folder / "hush"

    @property
    def node(self) -> "subprocess.Popen[bytes]":
        return self.stack.computes[NODE].process

    def script(self, attempt: ContainerAttempt) -> str:
        return attempt.script.format(
            file=self.file,
            folder=self.folder,
            data_dir=self.stack.root / NODE,
            node_pid=self.node.pid,
            neighbour_pid=self.neighbour_pid,
            port=self.port,
            api_port=self.stack.api_port,
            nats_port=self.stack.nats_port,
            socket=self.socket,
            gain=self.words["act"],
        )

    def gained(self, text: str) -> list[str]:
        return [place for place, word in self.words.items() if word in text]


@pytest.fixture(scope="module")
def outside(
    s3_server: S3Server, docker_engine: TestEngine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Outside]:
    words = {place: f"hush-{secrets.token_hex(8)}" for place in ("file", "service", "environment", "result", "act")}
    stack = Stack(tmp_path_factory.mktemp("walled"), s3_server)
    stack.start_orchestrator()
    stack.start_compute(
        NODE,
        variables={"HUSH": words["environment"]},
        Engines_Types_Docker_Socket=docker_engine.url,
        Engines_Types_Docker_PidsLimit="64",
        Compute_AllocatedCapacity_CPU="4",
    )
    folder = tmp_path_factory.mktemp("machine")
    with _service(words["service"]) as port:
        found = Outside(stack, folder, port, docker_engine.socket, words)
        found.file.write_text(words["file"])
        words["key"] = (stack.root / NODE / "compute" / "node.nkey").read_text().strip()
        stays = f"echo {words['result']} > /outputs/hush; while :; do sleep 1; done"
        found.neighbour = stack.submit(_job("/bin/sh", "-c", stays))
        stack.wait_state(found.neighbour, "Running")
        found.neighbour_pid = int(_pid_of(docker_engine))
        yield found
    ended(stack)
    docker_engine.remove_containers(f"tarpon.node={NODE}")


class _service:  # noqa: N801  # a context, not a thing
    """Of the machine, for those on it alone, which tells a word to whoever asks."""

    def __init__(self, word: str) -> None:
        class Tells(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:  # the library's own
                self.send_response(200)
                self.end_headers()
                self.wfile.write(word.encode())

            def log_message(self, *_: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer((HOST, 0), Tells)

    def __enter__(self) -> int:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return int(self._server.server_address[1])

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def _job(*command: str, **task: Any) -> dict[str, Any]:
    main = {
        "Name": "main",
        "Engine": {"Type": "docker", "Params": {"Image": IMAGE, "Entrypoint": list(command)}},
        "ResultPaths": [{"Name": "outputs", "Path": "/outputs"}],
        "Publisher": {"Type": "s3managed"},
        "Resources": {"CPU": "0.25", "Memory": "30mb", "Disk": "200mb"},
    }
    return {"Type": "batch", "Tasks": [main | task]}


def _pid_of(engine: TestEngine) -> int:
    (name,) = engine.containers(f"tarpon.node={NODE}")
    found = json.loads(engine.request("GET", f"/containers/{name}/json"))
    return int(found["State"]["Pid"])


def _tries(outside: Outside, tried: tuple[ContainerAttempt, ...]) -> dict[str, Any]:
    scripts = [outside.script(each) for each in tried]
    limit = {"ExecutionTimeout": LONGEST_SECONDS}
    return _job("/bin/sh", "-c", ONE_AFTER_THE_OTHER, "sh", *scripts, Timeouts=limit)


def _told(stack: Stack, job: str) -> str:
    """All that came back of it: the last of what it wrote if it failed, and its result if it has one."""
    told = [str(each.get("RunOutput")) for each in stack.describe(job)["Executions"]["Items"]]
    fetched = stack.root / f"fetched-{job}"
    stack.cli("job", "get", job, "--output-dir", str(fetched), check=False)
    found = [path for path in fetched.rglob("*") if path.is_file() and not path.is_symlink()]
    return "\n".join([*told, *(path.read_bytes().decode(errors="replace") for path in found)])


def test_nothing_is_gained_from_inside_of_a_container(outside: Outside, docker_engine: TestEngine) -> None:
    stack, hostname = outside.stack, socket.gethostname()
    node_pid = outside.node.pid
    jobs = {stack.submit(_tries(outside, tried)): tried for tried in containers()}
    for job in jobs:
        stack.wait_ended(job, within=80)
    told = {job: _told(stack, job) for job in jobs}
    gains = {f"{tried[0].name}, and others": outside.gained(told[job]) for job, tried in jobs.items()}
    assert {name: gained for name, gained in gains.items() if gained} == {}
    for job, tried in jobs.items():
        assert f"== {len(tried)}" in told[job], tried[0].name

    assert outside.file.read_text() == outside.words["file"]
    assert [each.name for each in outside.folder.iterdir()] == ["hush"]
    assert socket.gethostname() == hostname
    assert (outside.node.pid, outside.node.poll()) == (node_pid, None)
    assert stack.state(outside.neighbour) == "Running"
    assert _pid_of(docker_engine) == outside.neighbour_pid
    honest = stack.submit(_job("true"))
    assert stack.wait_ended(honest)["Job"]["State"]["StateType"] == "Completed"


def test_there_are_eighty_attempts_each_of_a_name_of_its_own() -> None:
    names = Counter(each.name for each in attempts())
    assert [name for name, count in names.items() if count > 1] == []
    assert len(names) >= 80


@pytest.mark.parametrize(
    ("attempt", "place"),
    [(PATHS[0], "file"), (PATHS[6], "key"), (PATHS[9], "key"), (PATHS[9], "result"), (PROCESSES[2], "environment")],
    ids=lambda each: each if isinstance(each, str) else each.name,
)
def test_without_a_container_the_same_is_a_gain(outside: Outside, attempt: ContainerAttempt, place: str) -> None:
    done = subprocess.run(["/bin/sh", "-c", outside.script(attempt)], capture_output=True, check=False, timeout=30)
    assert place in outside.gained(done.stdout.decode(errors="replace"))


def test_without_a_container_the_machine_s_services_answer(outside: Outside) -> None:
    with urllib.request.urlopen(f"http://{HOST}:{outside.port}/", timeout=10) as answer:
        assert outside.gained(answer.read().decode()) == ["service"]
    assert outside.socket.is_socket()
