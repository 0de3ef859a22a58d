"""Engines from outside on a whole node: the example with bubblewrap and a root file system, and broken ones beside."""

import hashlib
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import ended
from tests.e2e.stack import Stack, wait_until
from tests.engine import busybox_tar
from tests.integration.process_bench import is_alive
from tests.outside_engines import NOTHING, install_example, write_package
from tests.programs import require_program
from tests.sandbox import need_sandbox
from tests.servers import S3Server

NODE = "node-a"
BROKEN = "raise RuntimeError('no driver here')"
NEWER = """
from compute.engines.plugin import EnginePlugin
PLUGIN = EnginePlugin(protocol=99, open=None)
"""
MISBEHAVING = NOTHING.replace(
    "engine = NoopEngine()",
    """
    class Odd(NoopEngine):
        async def run(self, run):
            run.on_started(None)
            raise SystemExit(3)
    engine = Odd()
""",
)
"""What it raises would end a process that does not catch it."""


class Rootfs:
    """A stack whose node has the example's engine, and the image of its operator."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self.stack = stack
        packages, images = folder / "packages", folder / "images"
        install_example(packages)
        write_package(packages, "broken", BROKEN, "broken")
        write_package(packages, "newer", NEWER, "newer")
        write_package(packages, "misbehaving", MISBEHAVING, "misbehaving")
        write_package(packages, "taken", BROKEN, "docker", "proces")
        images.mkdir()
        tar = busybox_tar()
        (images / "small.tar").write_bytes(tar)
        self.image = f"small@sha256:{hashlib.sha256(tar).hexdigest()}"
        stack.start_orchestrator(Orchestrator_Scheduler_MaxAttempts="2")
        stack.start_compute(
            NODE,
            variables={"PYTHONPATH": str(packages)},
            Engines_Plugins=f"rootfs.images={images},rootfs.most_processes=100",
            Engines_Disabled="docker",
        )

    def job(self, script: str, *, params: dict[str, Any] | None = None, **task: Any) -> dict[str, Any]:
        given = {"Image": self.image, "Entrypoint": ["/bin/sh", "-c", script], **(params or {})}
        main = {"Name": "main", "Engine": {"Type": "rootfs", "Params": given}, **task}
        return {"Type": "batch", "Tasks": [main]}

    def output(self, script: str, **task: Any) -> str:
        (execution,) = self.ended(script, **task)["Executions"]["Items"]
        return str(execution["RunOutput"]["Stdout"])

    def ended(self, script: str, **task: Any) -> dict[str, Any]:
        return self.stack.wait_ended(self.stack.submit(self.job(script, **task)))

    def reason(self, script: str, **task: Any) -> str:
        found = self.ended(script, **task)
        assert found["Job"]["State"]["StateType"] == "Failed", found
        return str(found["Job"]["State"])


@pytest.fixture(scope="module")
def rootfs(s3_server: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rootfs]:
    need_sandbox()
    require_program("/bin/busybox")
    made = Stack(tmp_path_factory.mktemp("outside"), s3_server)
    yield Rootfs(made, tmp_path_factory.mktemp("rootfs"))
    ended(made)


def test_broken_engines_are_told_with_their_codes_and_the_node_does_without_them(rootfs: Rootfs) -> None:
    told = rootfs.stack.cli("node", "describe", NODE).stdout
    assert "rootfs (tarpon-rootfs 0.1.0, isolation: bubblewrap)" in told
    assert "RuntimeError: no driver here" in told
    assert "written for version 99 of the protocol of engines" in told
    for code in ("[EngineNotLoaded]", "[EngineProtocolUnknown]", "[EngineNameTaken]"):
        assert code in told
        assert code in rootfs.stack.computes[NODE].text()


def test_one_that_misbehaves_fails_its_own_tasks_alone(rootfs: Rootfs) -> None:
    main = {"Name": "main", "Engine": {"Type": "misbehaving"}}
    odd = rootfs.stack.submit({"Type": "batch", "Tasks": [main]})
    assert rootfs.output("echo meanwhile") == "meanwhile\n"
    assert "EngineMisbehaved: An engine from outside misbehaved: SystemExit" in str(rootfs.stack.wait_ended(odd))
    assert rootfs.output("echo afterwards") == "afterwards\n"


def test_a_task_sees_its_image_its_inputs_and_its_result_and_nothing_else(rootfs: Rootfs, tmp_path: Path) -> None:
    (tmp_path / "words").write_text("from here\n")
    data = rootfs.stack.cli("data", "put", str(tmp_path / "words"), "--name", "words").stdout
    assert data
    inputs = [{"Target": "/in/words", "Source": {"Type": "upload", "Params": {"Data": "words"}}}]
    script = "cat /in/words; ls /; touch /bin/x 2>&1; id -u; ls /root /home 2>&1; echo made > /out/made"
    job = rootfs.stack.submit(
        rootfs.job(
            script,
            InputSources=inputs,
            Publisher={"Type": "s3managed"},
            ResultPaths=[{"Name": "out", "Path": "/out"}],
        )
    )
    (execution,) = rootfs.stack.wait_ended(job)["Executions"]["Items"]
    told = execution["RunOutput"]["Stdout"]
    assert told.startswith("from here\nbin\ndev\netc\nin\nout\nproc\nrun\ntmp\n"), execution
    assert "Read-only file system" in told
    assert "\n0\n" not in told
    rootfs.stack.cli("job", "get", job, "--output-dir", str(tmp_path / "results"))
    assert [each.read_text() for each in (tmp_path / "results").rglob("made")] == ["made\n"]


def test_an_image_may_be_an_input(rootfs: Rootfs, tmp_path: Path) -> None:
    (tmp_path / "image.tar").write_bytes(busybox_tar())
    rootfs.stack.cli("data", "put", str(tmp_path / "image.tar"), "--name", "image")
    inputs = [{"Target": "/image.tar", "Source": {"Type": "upload", "Params": {"Data": "image"}}}]
    told = rootfs.output("ls / | grep -c image", params={"Image": "/image.tar"}, InputSources=inputs)
    assert told == "0\n"


def test_its_exit_code_variables_and_limits_are_as_with_other_engines(rootfs: Rootfs) -> None:
    found = rootfs.ended("echo $GIVEN-$TARPON_JOB_TYPE; exit 7", Env={"GIVEN": "x"})
    (execution,) = found["Executions"]["Items"]
    assert (execution["RunOutput"]["Stdout"], execution["RunOutput"]["ExitCode"]) == ("x-batch\n", 7)
    greedy = "a=1234567890; while true; do a=$a$a; done"
    assert "needed more memory than its limit" in rootfs.reason(greedy, Resources={"Memory": "20Mb"})
    results = {"Publisher": {"Type": "s3managed"}, "ResultPaths": [{"Name": "out", "Path": "/out"}]}
    filling = "dd if=/dev/zero of=/out/x bs=1M count=50; exec sleep 600"
    assert "more than its limit of" in rootfs.reason(filling, Resources={"Disk": "10Mb"}, **results)
    forking = "for i in $(seq 200); do sleep 600 & done; wait"
    assert "processes and threads at once" in rootfs.reason(forking)
    assert "ran longer than its time limit" in rootfs.reason("sleep 600", Timeouts={"ExecutionTimeout": 1})
    assert "cannot be started" in rootfs.reason("", params={"Entrypoint": ["/bin/none"]})
    assert "is below a folder that each task has anew" in rootfs.reason(
        "true", Publisher={"Type": "s3managed"}, ResultPaths=[{"Name": "out", "Path": "/tmp/out"}]
    )


def test_it_has_the_networks_that_it_says_and_keeps_secrets_off_command_lines(rootfs: Rootfs) -> None:
    interfaces = "sed -n 's/^ *\\([^ :]*\\):.*/\\1/p' /proc/net/dev"
    assert rootfs.output(interfaces) == "lo\n"
    assert "has the networks None and Host alone" in rootfs.reason("true", Network={"Type": "Bridge"})
    rootfs.stack.cli("secret", "put", "word", stdin="s3cret-of-test")
    looks = "echo ${#WORD}; cat /proc/*/cmdline | grep -c 's3cret-of-[t]est'"
    assert rootfs.output(looks, Env={"WORD": "secret:word"}) == "14\n0\n"


def test_its_parameters_are_checked_at_submit_by_what_the_node_tells(rootfs: Rootfs, tmp_path: Path) -> None:
    refused = "Tasks[0].Engine.Params.Imgae is not known to the engine rootfs; did you mean Image?"
    job = tmp_path / "job.yaml"
    job.write_text("Tasks: [{Name: main, Engine: {Type: rootfs, Params: {Imgae: x, Entrypoint: sh}}}]")
    done = rootfs.stack.cli("job", "run", str(job), check=False)
    assert done.returncode != 0
    for told in (refused, "Tasks[0].Engine.Params.Image is missing", "Entrypoint: expected a list, found a text"):
        assert told in done.stderr


def test_a_stopped_task_ends_and_one_of_a_killed_node_is_tried_again(rootfs: Rootfs) -> None:
    stack = rootfs.stack
    job = stack.submit(rootfs.job("trap 'exit 0' TERM; echo $$; while true; do sleep 0.1; done"))
    stack.wait_state(job, "Running")
    stack.cli("job", "stop", job)
    stack.wait_state(job, "Stopped")

    mark = uuid.uuid4().hex
    job = stack.submit(rootfs.job(f"while true; do sleep 0.1; done # {mark}"))
    stack.wait_state(job, "Running")
    boxes = _processes_with(mark)
    assert boxes
    stack.computes[NODE].kill()
    wait_until(lambda: not any(map(is_alive, boxes)), within=10, what="what the node ran has ended with it")
    stack.computes[NODE].start()
    wait_until(lambda: len(stack.describe(job)["Executions"]["Items"]) == 2, within=40, what="it is tried again")
    stack.cli("job", "stop", job)
    stack.wait_state(job, "Stopped")
    assert "The node was restarted while the execution was on it." in str(stack.describe(job)["Executions"])


def _processes_with(mark: str) -> list[int]:
    """All processes of this machine that have it in their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if mark.encode() in path.read_bytes():
                found.append(int(path.parent.name))
    return found
