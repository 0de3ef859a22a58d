"""What is done with each container engine: jobs from their submission to their result, on a node that has it alone."""

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.e2e.conftest import ended
from tests.e2e.stack import Stack, wait_until
from tests.e2e.test_docker import container_of, docker_job, executions
from tests.engine import CannotStart, Registry, TestEngine
from tests.matrix.cells import Check, NotHere
from tests.podman import RootlessPodman
from tests.servers import S3Server

NODE = "node-a"
SECONDS = 150.0
TASK_SECONDS = 15


class EngineBench:
    """The node runs as the user whose engine it is."""

    def __init__(self, folder: Path, s3: S3Server, engine: TestEngine) -> None:
        self.folder = folder
        self.s3 = s3
        self.engine = engine

    @cached_property
    def stack(self) -> Stack:
        root = self.folder / "stack"
        root.mkdir()
        made = Stack(root, self.s3)
        made.start_orchestrator()
        become: tuple[str, ...] = ()
        if isinstance(self.engine, RootlessPodman):
            (root / NODE).mkdir()
            os.chown(root / NODE, self.engine.user.pw_uid, self.engine.user.pw_gid)
            become = self.engine.as_user()
        made.start_compute(
            NODE, become=become, Engines_Types_Docker_Socket=self.engine.url, Engines_Types_Process_Enabled="false"
        )
        wait_until(lambda: "docker" in _offered(made), within=30, what="the node offers the engine")
        return made

    def end(self) -> None:
        if stack := self.__dict__.get("stack"):
            ended(stack)
            for name in self.engine.containers(f"tarpon.node={NODE}"):
                self.engine.request("DELETE", f"/containers/{name}?force=1")

    def ended(self, job: dict[str, Any]) -> tuple[str, str]:
        """The state in which a job ends, and all that was told of it."""
        job_id = self.stack.submit(job)
        found = self.stack.wait_ended(job_id, within=SECONDS)
        told = [item["Event"]["Message"] for item in found["History"]["Items"]]
        return found["Job"]["State"]["StateType"], " ".join([*told, str(found["Job"]["State"].get("Message", ""))])

    def failed(self, job: dict[str, Any], *words: str) -> None:
        state, told = self.ended(job)
        assert state == "Failed", f"the job is {state}: {told[-300:]}"
        assert any(word in told for word in words), told[-300:]


def _offered(stack: Stack) -> list[str]:
    return [each for node in stack.nodes() for each in node["Info"]["ComputeNodeInfo"]["ExecutionEngines"]]


def job(bench: EngineBench) -> None:
    stack = bench.stack
    name = stack.submit(docker_job("echo hello; echo error >&2; exit 3"))
    assert stack.wait_ended(name, within=SECONDS)["Job"]["State"]["StateType"] == "Completed"
    (execution,) = executions(stack, name)
    assert execution["RunOutput"]["ExitCode"] == 3
    assert (stack.cli("job", "cat", name, "stdout").stdout, stack.cli("job", "cat", name, "stderr").stdout) == (
        "hello\n",
        "error\n",
    )


def inputs(bench: EngineBench) -> None:
    """What was sent, what another job wrote, and what is in the job itself, all read only."""
    stack = bench.stack
    sent = bench.folder / "sent"
    (sent / "deep").mkdir(parents=True)
    (sent / "deep" / "file").write_text("sent\n")
    stack.cli("data", "put", str(sent), "--name", "tree")
    before = stack.submit(docker_job("echo written > /outputs/file"))
    stack.wait_ended(before, within=SECONDS)
    sources = {
        "/tree": {"Type": "upload", "Params": {"Data": "tree"}},
        "/before": {"Type": "result", "Params": {"Job": before, "Paths": ["outputs"]}},
        "/word": {"Type": "inline", "Params": {"Content": "inline\n"}},
    }
    read = "cat /tree/deep/file /before/outputs/file /word"
    write = "for each in /tree/new /before/new /word; do (echo x >> $each) 2> /dev/null || echo refused; done"
    name = stack.submit(
        docker_job(
            f"{read}; {write}", InputSources=[{"Source": each, "Target": target} for target, each in sources.items()]
        )
    )
    assert stack.wait_ended(name, within=SECONDS)["Job"]["State"]["StateType"] == "Completed"
    assert stack.cli("job", "cat", name, "stdout").stdout == "sent\nwritten\ninline\n" + 3 * "refused\n"


def result(bench: EngineBench) -> None:
    """Files of other users, and closed ones, too."""
    script = (
        "umask 077; mkdir /outputs/d; echo mine > /outputs/file; echo other > /outputs/d/file; chown -R 1000 /outputs/d"
    )
    name = bench.stack.submit(docker_job(script))
    assert bench.stack.wait_ended(name, within=SECONDS)["Job"]["State"]["StateType"] == "Completed"
    target = bench.folder / "got"
    target.mkdir()
    bench.stack.cli("job", "get", name, "--output-dir", str(target))
    assert (target / "outputs" / "file").read_text() == "mine\n"
    assert (target / "outputs" / "d" / "file").read_text() == "other\n"


def stop(bench: EngineBench) -> None:
    stack = bench.stack
    name = stack.submit(docker_job("while :; do sleep 0.1; done"))
    container = container_of(bench.engine, name, stack)
    stack.cli("job", "stop", name)
    stack.wait_state(name, "Stopped")
    wait_until(lambda: container not in bench.engine.containers(), within=30, what="its container is removed")


def out_of_memory(bench: EngineBench) -> None:
    task = docker_job("dd if=/dev/zero of=/dev/null bs=200M count=1", Resources={"Memory": "20mb"})
    bench.failed(task, "needed more memory than its limit")


def missing_command(bench: EngineBench) -> None:
    task = docker_job("true")
    task["Tasks"][0]["Engine"]["Params"]["Entrypoint"] = ["no-such-command"]
    bench.failed(task, "'no-such-command' could not be started")


def missing_image(bench: EngineBench) -> None:
    """In a registry that answers."""
    try:
        registry = Registry(bench.folder / "registry")
        registry.start()
    except CannotStart as error:
        raise NotHere(str(error)) from None
    try:
        task = docker_job("true")
        task["Tasks"][0]["Engine"]["Params"]["Image"] = image = f"{registry.host}/none:1"
        bench.failed(task, image)
    finally:
        registry.stop()


def service_restarted(bench: EngineBench) -> str:
    """In good order, while a task runs."""
    stack = bench.stack
    name = stack.submit(docker_job(f"sleep {TASK_SECONDS}; echo done"))
    container_of(bench.engine, name, stack)
    bench.engine.terminate()
    bench.engine.start()
    found = stack.wait_ended(name, within=SECONDS)
    events = [item["Event"]["Message"] for item in found["History"]["Items"]]
    assert found["Job"]["State"]["StateType"] == "Completed", events[-1]
    assert stack.cli("job", "cat", name, "stdout").stdout == "done\n"
    return f"executions: {len(executions(stack, name))}"


def attached_again(bench: EngineBench) -> None:
    """By a node that was killed."""
    stack = bench.stack
    name = stack.submit(docker_job(f"sleep {TASK_SECONDS / 3}; echo done"))
    container = container_of(bench.engine, name, stack)
    stack.computes[NODE].kill()
    assert bench.engine.inspect(container)["State"]["Running"]
    stack.computes[NODE].start()
    assert stack.wait_ended(name, within=SECONDS)["Job"]["State"]["StateType"] == "Completed"
    assert len(executions(stack, name)) == 1, "it ran again"
    assert stack.cli("job", "cat", name, "stdout").stdout == "done\n"


CHECKS: Sequence[Check[EngineBench]] = (
    Check("job", job),
    Check("input", inputs),
    Check("result, with files of other users", result),
    Check("stop", stop),
    Check("out of memory", out_of_memory),
    Check("missing command", missing_command),
    Check("missing image", missing_image),
    Check("service restarted while a task runs", service_restarted),
    Check("node killed and started again while a task runs", attached_again),
)
