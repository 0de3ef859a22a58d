"""What large results go through on a whole Tarpon: `python -m benchmarks.large_results sizes|kills|outage|one-file`.

sizes: results of 1 GiB and 6 GiB of noise are published, and read back from S3 to compare their SHA-256.
kills: the compute node is killed again and again while it uploads 2 GiB; what is sent twice is counted.
one-file: one file of a result of 1 GiB in 20,000 files is fetched; what comes from S3 for it is counted.
outage: S3 is away while 50 jobs end, and the node is killed meanwhile; everything is published when S3 is back.

Prints one JSON object. Needs up to 20 GB of disk below $TMPDIR, and minutes.
"""

import argparse
import hashlib
import json
import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.running import end_on_sigterm, tell
from benchmarks.tcp_gate import TcpGate
from compute.archive.part_size import PART_BYTES
from compute.upload.multipart import PARTS_IN_FLIGHT
from tests.e2e.stack import NO_SANDBOX, Stack, process_job, wait_until
from tests.servers import S3Server, free_ports, start_weed

GIB = 1 << 30
NODE = "node-1"
OUT = [{"Name": "out", "Path": "/out"}]
LONGEST_SECONDS = 1500.0


class Bed(NamedTuple):
    stack: Stack
    gate: TcpGate
    s3: S3Server


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["sizes", "kills", "outage", "one-file"])
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 6], help="GiB of each result")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=50)
    parser.add_argument("--away", type=float, default=300.0, help="seconds for which S3 is away")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    arguments = parser.parse_args()
    end_on_sigterm()
    with tempfile.TemporaryDirectory() as folder, _bed(Path(folder)) as bed:
        match arguments.what:
            case "sizes":
                answer = {f"{size} GiB": _publish(bed, size * GIB) for size in arguments.sizes}
            case "kills":
                answer = _kills(bed, arguments.kills, random.Random(arguments.seed)) | {"seed": arguments.seed}
            case "one-file":
                answer = _one_file(bed)
            case _:
                answer = _outage(bed, arguments.jobs, arguments.away)
    print(json.dumps(answer, indent=2))


@contextmanager
def _bed(folder: Path) -> Iterator[Bed]:
    (folder / "s3").mkdir()
    (folder / "stack").mkdir()
    s3 = start_weed(folder / "s3")
    try:
        stack = Stack(folder / "stack", s3)
        (port,) = free_ports(1)
        with TcpGate(port, int(s3.endpoint.rpartition(":")[2])) as gate:
            stack.start_orchestrator(publisher=stack.publisher_settings(Endpoint=f"http://127.0.0.1:{port}"))
            stack.start_compute(NODE, Engines_Types_Process_Sandbox=NO_SANDBOX)
            yield Bed(stack, gate, s3)
            stack.stop()
    finally:
        s3.stop()


def _noise(size_bytes: int, counter: Path) -> dict[str, Any]:
    script = f"echo ran >> {counter}; mkdir -p out; head -c {size_bytes} /dev/urandom > out/noise; sha256sum out/noise"
    return process_job(script, ResultPaths=OUT, Resources={"Disk": "50GB"})


def _publish(bed: Bed, size_bytes: int) -> dict[str, Any]:
    tell(f"Publishing {size_bytes / GIB:g} GiB ...")
    begun = time.monotonic()
    job = bed.stack.submit(_noise(size_bytes, bed.stack.root / "ran"))
    found = bed.stack.wait_ended(job, within=LONGEST_SECONDS)
    return _told(found) | {
        "seconds": round(time.monotonic() - begun, 1),
        "sha256_of_the_object_is_the_reported_one": _verify(bed, found),
        "node_peak_rss_mib": _peak_rss_mib(bed),
    }


def _kills(bed: Bed, kills: int, dice: random.Random) -> dict[str, Any]:
    counter = bed.stack.root / "ran"
    job = bed.stack.submit(_noise(2 * GIB, counter))
    done = 0
    wait_until(lambda: bed.gate.sent_bytes > 2 * PART_BYTES, within=120, what="the upload has begun")
    while done < kills and bed.stack.state(job) == "Running":
        wait_until(partial(_goes_on, bed, job, bed.gate.sent_bytes), within=60, what="the upload goes on")
        time.sleep(dice.uniform(0.05, 0.6))
        bed.stack.computes[NODE].kill()
        bed.stack.computes[NODE].start()
        done += 1
        tell(f"Killed {done} times, {bed.gate.sent_bytes / GIB:.2f} GiB sent")
    found = bed.stack.wait_ended(job, within=LONGEST_SECONDS)
    told = _told(found)
    again = bed.gate.sent_bytes - int(told.get("bytes", 0))
    return told | {
        "kills": done,
        "sha256_of_the_object_is_the_reported_one": _verify(bed, found),
        "task_ran": counter.read_text().count("ran"),
        "bytes_sent_again": again,
        "bytes_sent_again_per_kill_in_parts": round(again / max(1, done) / PART_BYTES, 2),
        "allowed_parts_per_kill": PARTS_IN_FLIGHT + 1,
    }


def _one_file(bed: Bed) -> dict[str, Any]:
    script = "mkdir -p out; head -c 1073741824 /dev/urandom | split -b 53688 -a 5 - out/f; ls out | wc -l"
    job = bed.stack.submit(process_job(script, ResultPaths=OUT, Resources={"Disk": "50GB"}))
    told = _told(bed.stack.wait_ended(job, within=LONGEST_SECONDS))
    before = bed.gate.received_bytes
    begun = time.monotonic()
    listed = len(bed.stack.cli("job", "files", job).stdout.splitlines())
    listing, middle = bed.gate.received_bytes - before, time.monotonic()
    target = bed.stack.root / "one"
    target.mkdir()
    bed.stack.cli("job", "get", job, "out/faaabz", "--output-dir", str(target))
    return told | {
        "lines_listed": listed,
        "bytes_for_the_listing": listing,
        "seconds_for_the_listing": round(middle - begun, 2),
        "bytes_for_one_file": bed.gate.received_bytes - before - listing,
        "seconds_for_one_file": round(time.monotonic() - middle, 2),
        "bytes_of_the_file": (target / "out" / "faaabz").stat().st_size,
    }


def _goes_on(bed: Bed, job: str, before: int) -> bool:
    return bed.gate.sent_bytes > before or bed.stack.state(job) != "Running"


def _outage(bed: Bed, jobs: int, away_seconds: float) -> dict[str, Any]:
    counter = bed.stack.root / "ran"
    script = f"echo ran >> {counter}; sleep 3; mkdir -p out; head -c 300000 /dev/urandom > out/noise"
    ids = [bed.stack.submit(process_job(script, ResultPaths=OUT)) for _ in range(jobs)]
    bed.gate.shut()
    cut = time.monotonic()
    tell("S3 is away.")
    wait_until(lambda: _node(bed)["PublishingExecutions"] >= jobs, within=away_seconds, what="all tasks have ended")
    all_ended = time.monotonic() - cut
    bed.stack.computes[NODE].kill()
    bed.stack.computes[NODE].start()
    wait_until(lambda: _node(bed)["WaitingExecutions"] > 0, within=60, what="the node says that results wait")
    waiting = _node(bed)
    told = sum(
        any("waiting for S3" in item["Event"]["Message"] for item in bed.stack.describe(job)["History"]["Items"])
        for job in ids
    )
    time.sleep(max(0.0, away_seconds - (time.monotonic() - cut)))
    bed.gate.open()
    tell("S3 is back.")
    back = time.monotonic()
    states = [bed.stack.wait_ended(job, within=300)["Job"]["State"]["StateType"] for job in ids]
    return {
        "jobs": jobs,
        "s3_away_s": round(back - cut, 1),
        "all_tasks_ended_after_s": round(all_ended, 1),
        "completed": states.count("Completed"),
        "published_after_return_s": round(time.monotonic() - back, 1),
        "tasks_ran": counter.read_text().count("ran"),
        "objects": len(bed.stack.objects()),
        "node_said_publishing": waiting["PublishingExecutions"],
        "node_said_waiting": waiting["WaitingExecutions"],
        "histories_that_say_waiting": told,
    }


def _node(bed: Bed) -> dict[str, Any]:
    info: dict[str, Any] = bed.stack.nodes()[0]["Info"]["ComputeNodeInfo"]
    return info


def _told(found: dict[str, Any]) -> dict[str, Any]:
    state = found["Job"]["State"]["StateType"]
    published = found["Executions"]["Items"][-1]["PublishedResult"]
    if state != "Completed" or not published:
        return {"state": state, "why": [item["Event"]["Message"] for item in found["History"]["Items"]][-3:]}
    params = published["Params"]
    return {
        "state": state,
        "bytes": params["Size"],
        "parts": params["Parts"],
        "retries": params["Retries"],
        "publish_s": round(params["PublishSeconds"], 1),
        "archive_s": round(params["ArchiveSeconds"], 1),
    }


def _verify(bed: Bed, found: dict[str, Any]) -> bool:
    params = found["Executions"]["Items"][-1]["PublishedResult"]["Params"]
    digest = hashlib.sha256()
    body = bed.s3.client().get_object(Bucket=params["Bucket"], Key=params["Key"])["Body"]
    for piece in body.iter_chunks(1 << 20):
        digest.update(piece)
    return digest.hexdigest() == str(params["SHA256"])


def _peak_rss_mib(bed: Bed) -> int:
    status = Path(f"/proc/{bed.stack.computes[NODE].process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024


if __name__ == "__main__":
    main()
