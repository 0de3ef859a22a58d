"""Parts of a job that divide the objects of a bucket between them, on several nodes, and what each reads (no tests)."""

import secrets
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tarpon.devstack.signed_requests import request
from tests.e2e.stack import Stack
from tests.integration.input_places import new_bucket
from tests.servers import REGION, S3Server

FIRST = 1_000_000
SCRIPT = (
    "cd $HOME/in; {before}sum=0; for f in *; do sum=$((sum + $(head -c 7 $f))); done;"
    " echo $sum $(cat * | wc -c) $(ls | tr '\\n' ' ')"
)
UPLOADS_AT_ONCE = 8


class PartRead(NamedTuple):
    sum: int
    size: int
    names: tuple[str, ...]


def content(number: int, size: int) -> bytes:
    """It begins with its number; the rest is like nothing else."""
    return f"{FIRST + number}\n".encode() + secrets.token_bytes(size - 8)


def fill(server: S3Server, bucket: str, count: int, size: int) -> None:
    def put(number: int) -> None:
        url = f"{server.endpoint}/{bucket}/in/{number}"
        status, answer = request("PUT", url, keys=server.admin, region=REGION, body=content(number, size))
        assert status == 200, answer

    with ThreadPoolExecutor(UPLOADS_AT_ONCE) as pool:
        list(pool.map(put, range(count)))


def job(bucket: str, parts: int, *, before: str = "") -> dict[str, Any]:
    params = {"Bucket": bucket, "Key": "in/", "Partition": {"Type": "object"}}
    script = SCRIPT.format(before=before)
    task = {
        "Name": "main",
        "Engine": {"Type": "process", "Params": {"Entrypoint": ["/bin/sh", "-c", script]}},
        "Resources": {"CPU": "1", "Memory": "10MB"},
        "InputSources": [{"Source": {"Type": "s3", "Params": params}, "Target": "/in"}],
    }
    return {"Type": "batch", "Count": parts, "Tasks": [task]}


@contextmanager
def stack_with_objects(
    root: Path, server: S3Server, *, objects: int, size: int, nodes: int, reached_at: str = "", **settings: Any
) -> Iterator[tuple[Stack, str]]:
    """And the name of the bucket of the objects. Nodes reach S3 at another URL where one is given."""
    bucket = new_bucket(server)
    fill(server, bucket, objects, size)
    stack = Stack(root, server)
    try:
        publisher = stack.publisher_settings(PublicEndpoint=reached_at)
        stack.start_orchestrator(publisher=publisher, InputSources_Types_S3_Allow=f"s3://{bucket}", **settings)
        for number in range(nodes):
            stack.start_compute(f"node-{number}", Compute_AllocatedCapacity_CPU="1")
        yield stack, bucket
    finally:
        stack.stop()


def parts_read(described: Mapping[str, Any]) -> dict[int, PartRead]:
    """By what the execution of each part that completed has written."""
    found: dict[int, PartRead] = {}
    for each in described["Executions"]["Items"]:
        if each["RunOutput"] is not None and each["RunOutput"]["ExitCode"] == 0:
            total, size, *names = each["RunOutput"]["Stdout"].split()
            found[each["PartitionIndex"]] = PartRead(int(total), int(size), tuple(names))
    return found


def check_whole(stack: Stack, made: str, *, objects: int, size: int, parts: int) -> None:
    """Each object was read in exactly one part, whole, and by that one of which `describe` tells it."""
    described = stack.describe(made)
    assert described["Job"]["State"]["StateType"] == "Completed", described["Job"]["State"]
    read = parts_read(described)
    names = [name for part in read.values() for name in part.names]
    assert sorted(map(int, names)) == list(range(objects))
    assert sorted(read) == list(range(parts))
    assert sum(part.sum for part in read.values()) == sum(FIRST + number for number in range(objects))
    assert sum(part.size for part in read.values()) == objects * size
    for each in described["Executions"]["Items"]:
        part = read[each["PartitionIndex"]]
        assert (each["Inputs"]["Files"], each["Inputs"]["Size"]) == (len(part.names), part.size)
        assert set(each["Inputs"]["Names"]) <= set(part.names)
