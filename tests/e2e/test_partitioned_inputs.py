"""Inputs in S3, divided between the parts of a job: each object is read by exactly one of them."""

import asyncio
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

from shared.jobs.states import DesiredState
from shared.protocol.rest import desired_state_number
from tests.e2e.partitioned_inputs import check_whole, job, parts_read, stack_with_objects
from tests.e2e.stack import Stack, assert_nothing_leaked, wait_until
from tests.engine import IMAGE, TestEngine
from tests.faulty_s3 import FaultyS3
from tests.integration.input_places import new_bucket
from tests.servers import S3Server

LIVE = desired_state_number(DesiredState.RUNNING)
OBJECTS, SIZE, PARTS, NODES = 90, 20_000, 6, 3


async def test_each_object_is_in_exactly_one_share_and_read_once(s3_server: S3Server, tmp_path: Path) -> None:
    async with FaultyS3(s3_server.endpoint).serving() as s3:
        read = await asyncio.to_thread(paths_read, s3_server, tmp_path, s3)
    assert len(read) == OBJECTS
    assert set(read.values()) == {1}


def paths_read(server: S3Server, root: Path, s3: FaultyS3) -> Counter[str]:
    """How often nodes have read each object."""
    with stack_with_objects(root, server, objects=OBJECTS, size=SIZE, nodes=NODES, reached_at=s3.endpoint) as (
        stack,
        bucket,
    ):
        made = stack.submit(job(bucket, PARTS))
        stack.wait_ended(made, within=90)
        check_whole(stack, made, objects=OBJECTS, size=SIZE, parts=PARTS)
        assert "KiB in" in stack.cli("job", "describe", made).stdout
        assert_nothing_leaked(root, [], stack.secrets())
        paths = [urlsplit(each.url).path for each in s3.seen]
        return Counter(path for path in paths if path.startswith(f"/{bucket}/in/"))


def test_each_object_is_read_though_a_node_is_killed_and_s3_is_away(s3_server: S3Server, tmp_path: Path) -> None:
    """A node has room for one part: others are yet to be fetched when both happen."""
    quick = {"Orchestrator_NodeManager_DisconnectTimeout": "4s", "Orchestrator_Scheduler_Backoff_Floor": "500ms"}
    with stack_with_objects(tmp_path, s3_server, objects=OBJECTS, size=SIZE, nodes=NODES, **quick) as (stack, bucket):
        made = stack.submit(job(bucket, PARTS, before="sleep 1; "))
        wait_until(lambda: parts_read(stack.describe(made)), within=60, what="a part has been read")
        s3_server.stop()
        try:
            stack.computes["node-0"].kill()

            def is_elsewhere() -> bool:
                items = stack.describe(made)["Executions"]["Items"]
                held = [each for each in items if each["NodeID"] == "node-0"]
                return all(each["DesiredState"]["StateType"] != LIVE for each in held)

            wait_until(is_elsewhere, within=60, what="the parts of the node that was killed are given up")
        finally:
            s3_server.start()
        stack.wait_ended(made, within=100)
        check_whole(stack, made, objects=OBJECTS, size=SIZE, parts=PARTS)


# As a job file of Bacalhau names a public data set; here the bucket is of the same name, and elsewhere.
JOB_OF_BACALHAU = """\
Name: Docker Job with S3
Type: batch
Namespace: default
Count: 1
Tasks:
  - Name: main
    Engine:
      Type: docker
      Params:
        Image: {image}
        Entrypoint: [/bin/sh]
        Parameters: [-c, ls /input_custom]
    InputSources:
      - Alias: input_custom
        Target: /input_custom
        Source:
          Type: s3
          Params:
            Bucket: {bucket}
            Key: integration-tests-do-not-delete/set1/
            Region: eu-west-1
"""


def test_a_job_file_of_bacalhau_reads_its_prefix_in_a_container(
    stack: Stack, s3_server: S3Server, docker_engine: TestEngine
) -> None:
    folder = "integration-tests-do-not-delete/set1"
    bucket = new_bucket(s3_server, {f"{folder}/001.txt": b"1", f"{folder}/sub/002.txt": b"2"})
    stack.start_orchestrator(InputSources_Types_S3_Allow=f"s3://{bucket}")
    stack.start_compute("node-a", Engines_Types_Docker_Socket=docker_engine.url)
    text = JOB_OF_BACALHAU.format(image=IMAGE, bucket=bucket)
    assert stack.cli("job", "validate", "-", stdin=text).stdout == "OK\n"
    made = stack.cli("job", "run", "-", "--id-only", "--wait", stdin=text).stdout.strip()
    (execution,) = stack.wait_ended(made)["Executions"]["Items"]
    assert execution["RunOutput"]["Stdout"] == "001.txt\nsub\n"
