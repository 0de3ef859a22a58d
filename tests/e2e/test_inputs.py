"""Inputs of tasks, from the job to what the task reads, with each engine there is."""

import base64
import hashlib
import io
import os
import tarfile
from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any

import pytest

from shared.protocol.nodes.inputs import LARGE_BYTES
from tests.e2e import conftest
from tests.e2e.stack import Stack, wait_until
from tests.engine import IMAGE, TestEngine
from tests.integration.input_places import new_bucket, put_objects
from tests.sandbox import need_sandbox
from tests.servers import S3Server

NODE = "node-a"
SHARED = "node-shared"
ENDED_SECONDS = 150.0
"""A busy machine takes its time to start containers."""
ENGINES = ("process", "docker_engine", "podman_engine")
CONTAINERS = ENGINES[1:]


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Iterator[tuple[str, TestEngine | None]]:
    """The kind of an engine, and the one that runs its containers."""
    kind = str(request.param)
    found = None if kind == "process" else request.getfixturevalue(kind)
    yield kind, found
    if found is not None:
        for node in (NODE, SHARED):
            found.remove_containers(f"tarpon.node={node}")


@pytest.fixture(scope="module")
def kind(engine: tuple[str, TestEngine | None]) -> str:
    return engine[0]


@pytest.fixture(scope="module")
def with_node(
    engine: tuple[str, TestEngine | None], s3_server: S3Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """Shared by the tests of an engine; those that change their node have a stack of their own."""
    made = Stack(tmp_path_factory.mktemp("inputs"), s3_server)
    made.shown = tmp_path_factory.getbasetemp()
    made.start_orchestrator()
    made.start_compute(SHARED, Engines_Types_Docker_Socket="" if engine[1] is None else engine[1].url)
    yield made
    conftest.ended(made)


def job(kind: str, script: str, *inputs: Mapping[str, Any], **task: Any) -> dict[str, Any]:
    """The script sees all paths below `$R`."""
    params = {"Entrypoint": ["/bin/sh", "-c"], "Parameters": [script]}
    engine = {"Type": "process", "Params": params}
    if kind != "process":
        engine = {"Type": "docker", "Params": {"Image": IMAGE, **params}}
    params["Parameters"] = [f"R={'$HOME' if kind == 'process' else ''}; {script}"]
    main = {"Name": "main", "Engine": engine, "InputSources": list(inputs), **task}
    return {"Type": "batch", "Tasks": [main]}


def inline(target: str, **params: Any) -> dict[str, Any]:
    return {"Source": {"Type": "inline", "Params": params}, "Target": target}


def tree_url(files: Mapping[str, bytes], *, mode: int = 0o644) -> str:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), mode
            archive.addfile(member, io.BytesIO(content))
    return "data:application/gzip;base64," + base64.b64encode(packed.getvalue()).decode()


def ended(stack: Stack, made: str) -> dict[str, Any]:
    stack.wait_ended(made, within=ENDED_SECONDS)
    (execution,) = stack.describe(made)["Executions"]["Items"]
    found: dict[str, Any] = execution
    return found


def folders(stack: Stack, node: str) -> list[str]:
    return [each.name for each in (stack.root / node / "compute" / "executions").iterdir() if each.name[0] != "."]


def test_a_task_reads_the_text_that_is_in_its_job(with_node: Stack, kind: str) -> None:
    made = with_node.submit(
        job(kind, "cat $R/data/in/greeting.txt", inline("/data/in/greeting.txt", Content="hello\n"))
    )
    assert ended(with_node, made)["RunOutput"]["Stdout"] == "hello\n"


def test_a_task_reads_the_tree_that_is_in_its_job(with_node: Stack, kind: str) -> None:
    url = tree_url({"a.txt": b"one", "deep/run": b"#!/bin/sh\necho two\n"}, mode=0o755)
    script = "cd $R/in; cat a.txt; echo; deep/run; find . | sort; stat -c %a . deep a.txt"
    made = with_node.submit(job(kind, script, inline("/in", URL=url)))
    output = ended(with_node, made)["RunOutput"]["Stdout"]
    assert output.splitlines() == ["one", "two", ".", "./a.txt", "./deep", "./deep/run", "555", "555", "555"]
    wait_until(lambda: not folders(with_node, SHARED), within=10, what="the node removes what is read only too")


def test_no_container_writes_to_its_inputs(with_node: Stack, kind: str) -> None:
    script = "(echo x >> /in/a || rm /in/a || touch /in/b) 2> /dev/null || echo refused"
    made = with_node.submit(job(kind, script, inline("/in", URL=tree_url({"a": b"one"}))))
    if kind != "process":
        assert ended(with_node, made)["RunOutput"]["Stdout"] == "refused\n"


def test_an_input_does_not_become_a_part_of_the_result(with_node: Stack, kind: str) -> None:
    task = {"Publisher": {"Type": "s3managed"}, "ResultPaths": [{"Name": "outputs", "Path": "/outputs"}]}
    made = with_node.submit(job(kind, "cp $R/in $R/outputs/copy", inline("/in", Content="one"), **task))
    assert with_node.wait_ended(made)["Job"]["State"]["StateType"] == "Completed"
    listed = with_node.cli("job", "files", made).stdout
    assert "outputs/copy" in listed
    assert "inputs" not in listed


@pytest.mark.parametrize(
    ("url", "told"),
    [
        (tree_url({"../out": b"x"}), "'../out': files and folders alone are possible, below the target"),
        (tree_url({"/out": b"x"}), "'/out': files and folders alone are possible, below the target"),
        (tree_url({"a": b"x", "a/b": b"x"}), "has a file where it needs a folder"),
        ("data:application/gzip;base64,bm8gYXJjaGl2ZQ==", "is no tar archive compressed by gzip"),
    ],
)
@pytest.mark.parametrize("engine", ["process"], indirect=True)
def test_an_inline_archive_that_makes_no_folder_fails_the_job_with_a_sentence(
    with_node: Stack, kind: str, url: str, told: str
) -> None:
    made = with_node.submit(job(kind, "true", inline("/in", URL=url)))
    state = with_node.wait_ended(made)["Job"]["State"]
    assert state["StateType"] == "Failed"
    assert told in str(with_node.describe(made)["Executions"])
    assert "InputNotPlaced" in str(with_node.describe(made))
    assert len(with_node.describe(made)["Executions"]["Items"]) == 1


@pytest.mark.parametrize("target", ["/etc/passwd/in.txt", "/bin"])
@pytest.mark.parametrize("engine", CONTAINERS, indirect=True)
def test_what_is_in_the_image_in_the_way_of_an_input_is_told(with_node: Stack, kind: str, target: str) -> None:
    made = with_node.submit(job(kind, "true", inline(target, Content="x")))
    assert with_node.wait_ended(made)["Job"]["State"]["StateType"] == "Failed"
    told = str(with_node.describe(made))
    assert f"The image is in the way of the input at {target}: it has a file where there has to be a folder" in told
    assert "InputNotPlaced" in told


@pytest.mark.parametrize(
    ("working_directory", "told"),
    [("/in", "is in the place of an input, which is a file"), ("/in/deep", "is in the place of an input")],
)
@pytest.mark.parametrize("engine", ["process"], indirect=True)
def test_a_working_directory_in_the_place_of_an_input_is_told(
    with_node: Stack, kind: str, working_directory: str, told: str
) -> None:
    wanted = job(kind, "true", inline("/in", Content="x"))
    wanted["Tasks"][0]["Engine"]["Params"]["WorkingDirectory"] = working_directory
    made = with_node.submit(wanted)
    assert with_node.wait_ended(made)["Job"]["State"]["StateType"] == "Failed"
    assert told in str(with_node.describe(made)["Executions"])


FILES = {f"{number:02}": b"content %d\n" % number for number in range(40)}
READ = "cat /in/* | sha256sum"
DIGEST = hashlib.sha256(b"".join(FILES[name] for name in sorted(FILES))).hexdigest()


@pytest.mark.timeout(400)  # engines of a busy machine
@pytest.mark.parametrize("engine", CONTAINERS, indirect=True)
def test_a_task_reads_its_inputs_though_its_node_was_killed_and_needs_the_room(
    stack: Stack, engine: tuple[str, TestEngine | None], s3_server: S3Server
) -> None:
    """Once it has ended, what it read may go."""
    kind, found = engine
    assert found is not None
    objects = {f"{folder}/{name}": content for folder in ("in", "other") for name, content in FILES.items()}
    bucket = new_bucket(s3_server, objects)
    stack.start_orchestrator(InputSources_Types_S3_Allow=f"s3://{bucket}")
    stack.start_compute(NODE, Engines_Types_Docker_Socket=found.url, Compute_Inputs_CacheSize="1KB")
    waits = f"{READ}; until [ -e /outputs/go ]; do sleep 0.05; done; {READ}"
    paths = [{"Name": "outputs", "Path": "/outputs"}]
    publisher = {"Type": "s3managed"}
    made = stack.submit(job(kind, waits, s3(bucket, "in/"), ResultPaths=paths, Publisher=publisher))
    stack.wait_state(made, "Running", within=ENDED_SECONDS)
    (view,) = views(stack)
    stack.computes[NODE].kill()
    stack.computes[NODE].start()
    stack.wait_connected(NODE)
    for key in ("in/", "other/"):
        assert ended(stack, stack.submit(job(kind, READ, s3(bucket, key))))["RunOutput"]["Stdout"].split()[0] == DIGEST
    assert view in views(stack)
    (execution,) = stack.describe(made)["Executions"]["Items"]
    (stack.root / NODE / "compute" / "executions" / execution["ID"] / "workspace" / "outputs" / "go").touch()
    assert ended(stack, made)["RunOutput"]["Stdout"].split() == [DIGEST, "-"] * 2
    assert stack.describe(made)["Job"]["State"]["StateType"] == "Completed"
    wait_until(lambda: not folders(stack, NODE), within=ENDED_SECONDS, what="the node forgets what is over")
    ended(stack, stack.submit(job(kind, READ, s3(bucket, "other/"))))
    assert view not in views(stack)


def s3(bucket: str, key: str) -> dict[str, Any]:
    return {"Source": {"Type": "s3", "Params": {"Bucket": bucket, "Key": key}}, "Target": "/in"}


def views(stack: Stack) -> list[str]:
    """Those that the node keeps."""
    return os.listdir(stack.root / NODE / "compute" / "inputs" / "views")  # noqa: PTH208


def test_tasks_behind_walls_have_in_common_what_they_read_and_none_can_change_it(
    stack: Stack, s3_server: S3Server
) -> None:
    need_sandbox()
    bucket = new_bucket(s3_server, {f"in/{name}": content for name, content in FILES.items()})
    stack.start_orchestrator(InputSources_Types_S3_Allow=f"s3://{bucket}")
    stack.start_compute(NODE)
    spoils = "; ".join(f"{change} 2> /dev/null && echo changed" for change in CHANGES)
    for script in (f"cd $R/in; {spoils}; cat * | sha256sum", "cat $R/in/* | sha256sum"):
        made = stack.submit(job("process", script, s3(bucket, "in/")))
        assert ended(stack, made)["RunOutput"]["Stdout"].split() == [DIGEST, "-"]
    assert len(views(stack)) == 1


CHANGES = ("echo x > 00", "chmod u+w 00", "rm -f 00", "touch new", "mv 00 01", "rm -rf ../in")


@pytest.mark.timeout(400)
def heartbeat_of(stack: Stack, node: str) -> str:
    return str(stack.api(f"/orchestrator/nodes/{node}")["Node"]["ConnectionState"]["LastHeartbeat"])


def test_a_task_comes_to_the_node_that_has_what_it_reads(stack: Stack, s3_server: S3Server) -> None:
    names = (f"{number}.bin" for number in count())
    bucket = new_bucket(s3_server)
    stack.start_orchestrator(InputSources_Types_S3_Allow=f"s3://{bucket}")
    for node in ("node-a", "node-b"):
        stack.start_compute(node, Labels=f"name={node}")

    def is_led_there() -> bool:
        """Of two nodes that are idle the first one is chosen, and the input is on the other."""
        name = next(names)
        put_objects(s3_server, bucket, {name: os.urandom(LARGE_BYTES)})
        reads = job("process", "cat $R/in/* | wc -c", s3(bucket, name))
        there = {"Constraints": [{"Key": "name", "Operator": "=", "Values": ["node-b"]}]}
        assert ended(stack, stack.submit(reads | there))["NodeID"] == "node-b"
        told = heartbeat_of(stack, "node-b")
        wait_until(lambda: heartbeat_of(stack, "node-b") != told, within=ENDED_SECONDS, what="it tells what it keeps")
        second = ended(stack, stack.submit(reads))
        assert second["RunOutput"]["Stdout"].strip() == str(LARGE_BYTES)
        return bool(second["NodeID"] == "node-b")

    wait_until(is_led_there, within=ENDED_SECONDS, what="the orchestrator knows where the input is")
