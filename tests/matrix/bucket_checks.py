"""What is done with each S3 server: jobs on a stack that stores there, and results whose way there is disturbed."""

import hashlib
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from functools import cached_property, partial
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from botocore.exceptions import ClientError

from orchestrator.s3.problems import ProblemCode
from tests.chaos.clocks import Clock, have_clocks
from tests.e2e.conftest import ended
from tests.e2e.stack import TERMINAL, Stack, process_job, wait_until
from tests.matrix import disturbances
from tests.matrix.bucket_servers import SERVERS, Server
from tests.matrix.cells import Check, NotHere, Peer
from tests.servers import HOST, aws_environment

NODE = "node-a"
PARTS_MB = 42
SECONDS = 150.0
URL_SECONDS = 200
CLOCK_SECONDS = 300
KEPT = "echo kept >&2"
OUTPUTS = [{"Name": "outputs", "Path": "/outputs"}]


class BucketBench:
    """The server, and a stack that stores in it, which is started by the first check that asks."""

    def __init__(self, folder: Path, server: Server) -> None:
        self.folder = folder
        self.server = server
        self.clock = Clock(folder / "clock")
        self.small = self.large = ""
        self._folders = 0

    @cached_property
    def stack(self) -> Stack:
        made = self.orchestrator(self.clock)
        made.start_compute(NODE)
        return made

    def orchestrator(self, clock: Clock, *, ready: bool = True) -> Stack:
        """One by itself, with keys that may delete too, and by this clock."""
        made = Stack(self._new_folder(), self.server)
        made.start_orchestrator(
            aws=aws_environment(self.server.admin) | clock.variables,
            ready=ready,
            Publishers_Types_S3Managed_PreSignedURLExpiration=f"{URL_SECONDS}s",
            Publishers_Types_S3Managed_ProbeInterval="1s",
        )
        return made

    def end(self) -> None:
        if stack := self.__dict__.get("stack"):
            ended(stack)

    def _new_folder(self) -> Path:
        self._folders += 1
        made = self.folder / f"work-{self._folders}"
        made.mkdir()
        return made

    def disturbed(self, disturb: disturbances.Disturb) -> str | None:
        return disturbances.carry_out(disturb, self.server, self._new_folder)


def start_up(bench: BucketBench) -> None:
    _ = bench.stack


def small_job(bench: BucketBench) -> None:
    bench.small = _completed(bench, process_job("echo hello"))
    assert bench.stack.cli("job", "cat", bench.small, "stdout").stdout == "hello\n"


def job_in_parts(bench: BucketBench) -> None:
    script = f"cd outputs; head -c {PARTS_MB << 20} /dev/urandom > large; echo small > small; sha256sum < large"
    bench.large = _completed(bench, process_job(script, ResultPaths=OUTPUTS))


def get_and_verify(bench: BucketBench) -> None:
    assert bench.large, "there is no result in parts"
    target = bench.folder / "got"
    target.mkdir()
    bench.stack.cli("job", "get", bench.large, "--output-dir", str(target))
    digest = hashlib.sha256((target / "outputs" / "large").read_bytes()).hexdigest()
    assert (target / "stdout").read_text().split()[0] == digest, "what was fetched is not what the task wrote"


def files_by_range(bench: BucketBench) -> None:
    assert bench.large, "there is no result in parts"
    listed = bench.stack.cli("job", "files", bench.large).stdout
    assert "outputs/large" in listed, listed
    assert bench.stack.cli("job", "cat", bench.large, "outputs/small").stdout == "small\n"


def deletion(bench: BucketBench) -> None:
    assert bench.small, "there is no small result"
    stack = bench.stack
    before = set(stack.objects())
    stack.cli("job", "delete", "--results", bench.small)
    wait_until(lambda: set(stack.objects()) < before, within=30, what="the result is deleted")
    assert not [key for key in stack.objects() if bench.small in key]


def create_only(bench: BucketBench) -> str:
    """The orchestrator's probe says what the server does."""
    stack = bench.stack
    found = wait_until(lambda: _create_only_of(stack), within=60, what="the probe knows")
    server, key = {"Bucket": stack.bucket, "Key": f"{stack.prefix}/create-only"}, bench.server.client()
    key.put_object(**server, Body=b"first")
    put = _refused(lambda: key.put_object(**server, Body=b"second", IfNoneMatch="*"))
    upload = server | {"UploadId": key.create_multipart_upload(**server)["UploadId"]}
    part = {"PartNumber": 1, "ETag": key.upload_part(**upload, PartNumber=1, Body=b"third")["ETag"]}
    completion = _refused(
        lambda: key.complete_multipart_upload(**upload, MultipartUpload={"Parts": [part]}, IfNoneMatch="*")
    )
    assert found == (put, completion), f"the probe says {_yes(*found)}, the server does {_yes(put, completion)}"
    return _yes(put, completion)


def _create_only_of(stack: Stack) -> tuple[bool, bool] | None:
    health = stack.api("/agent/node")["Publishers"]["S3Managed"]
    parts = health.get("CreateOnlyParts")
    return None if parts is None else (bool(health["CreateOnly"]), bool(parts))


def _refused(write: Callable[[], object]) -> bool:
    try:
        write()
    except ClientError as error:
        return bool(error.response["ResponseMetadata"]["HTTPStatusCode"] == 412)
    return False


def _yes(put: bool, completion: bool) -> str:  # noqa: FBT001  # what was found, in this order everywhere
    return f"PUT {'yes' if put else 'no'}, parts {'yes' if completion else 'no'}"


def started_with_wrong_clock(bench: BucketBench) -> None:
    """The clock is named, and nothing else that could be at fault."""
    _need_clocks()
    clock = Clock(bench.folder / "clock-at-start")
    clock.set_hours(-CLOCK_SECONDS / 3600)
    stack = bench.orchestrator(clock, ready=False)
    try:
        problem = wait_until(lambda: _problem_of(stack), within=60, what="the orchestrator says what is wrong")
        assert problem["Code"] == ProblemCode.CLOCK_SKEWED, f"{problem['Code']}: {problem['Message']}"
        clock.set_hours(0)
        stack.wait_ready()
    finally:
        ended(stack)


def _problem_of(stack: Stack) -> dict[str, str] | None:
    try:
        problem: dict[str, str] | None = stack.api("/agent/node")["Publishers"]["S3Managed"].get("Problem")
    except OSError:
        return None
    return problem if problem and problem["Code"] != ProblemCode.NOT_PROBED else None


def clock_behind(bench: BucketBench) -> None:
    """By more than the life of a URL, from before the jobs until they have been seen to wait."""
    _with_wrong_clock(bench, -CLOCK_SECONDS, _told_of_clock)


def clock_ahead(bench: BucketBench) -> str:
    """Some services take a URL that is valid from later on; at the others the jobs have to wait."""
    told: list[bool] = []
    _with_wrong_clock(bench, CLOCK_SECONDS, lambda stack, job: _has_ended(stack, job, told))
    return "URLs are taken" if all(told) else "URLs are refused"


def _with_wrong_clock(bench: BucketBench, seconds: int, has_shown: Callable[[Stack, str], bool]) -> None:
    _need_clocks()
    stack = bench.stack
    bench.clock.set_hours(seconds / 3600)
    try:
        wait_until(lambda: abs(_clock_of(stack) - time.time()) > URL_SECONDS, within=30, what="the clock is wrong")
        scripts = (KEPT, f"{KEPT}; head -c {PARTS_MB << 20} /dev/urandom > outputs/large")
        jobs = [stack.submit(process_job(script, ResultPaths=OUTPUTS)) for script in scripts]
        for job in jobs:
            wait_until(partial(has_shown, stack, job), within=60, what="the job has ended, or the clock is named")
    finally:
        bench.clock.set_hours(0)
    for job in jobs:
        assert stack.wait_ended(job, within=SECONDS)["Job"]["State"]["StateType"] == "Completed", "the result is lost"
        assert stack.cli("job", "cat", job, "stderr").stdout == "kept\n"


def _has_ended(stack: Stack, job: str, told: list[bool]) -> bool:
    is_over = stack.state(job) in TERMINAL
    if is_over or _told_of_clock(stack, job):
        told.append(is_over)
        return True
    return False


def _need_clocks() -> None:
    if not have_clocks():
        raise NotHere("libfaketime is not here.")


def _clock_of(stack: Stack) -> float:
    with urlopen(f"http://{HOST}:{stack.api_port}/api/v1/agent/alive", timeout=10) as answer:
        return parsedate_to_datetime(answer.headers["Date"]).timestamp()


def _told_of_clock(stack: Stack, job: str) -> bool:
    """At the orchestrator or to the job's user, when the result was on its way."""
    found = stack.describe(job)
    events = [item["Event"]["Message"] for item in found["History"]["Items"]]
    assert found["Job"]["State"]["StateType"] != "Failed", f"a finished result is lost: {events[-1]}"
    problem = _problem_of(stack)
    told = [*events, *map(str, found["Executions"]["Items"]), *([problem["Message"]] if problem else [])]
    return any("publishing" in each for each in events) and any("clock" in each for each in told)


def _completed(bench: BucketBench, job: dict[str, Any]) -> str:
    job_id = bench.stack.submit(job)
    found = bench.stack.wait_ended(job_id, within=SECONDS)
    events = [item["Event"]["Message"] for item in found["History"]["Items"]]
    assert found["Job"]["State"]["StateType"] == "Completed", events[-1]
    return job_id


def _disturbed(name: str, disturb: disturbances.Disturb) -> Check[BucketBench]:
    return Check(name, lambda bench: bench.disturbed(disturb))


CHECKS: Sequence[Check[BucketBench]] = (
    Check("start-up", start_up),
    Check("small job", small_job),
    Check(f"job with {PARTS_MB} MB, in parts", job_in_parts),
    Check("get and verify", get_and_verify),
    Check("files and cat, by ranges", files_by_range),
    _disturbed("URL that has expired", disturbances.url_that_has_expired),
    Check(f"start with a clock that is {CLOCK_SECONDS} s behind", started_with_wrong_clock),
    Check(f"results while the clock is {CLOCK_SECONDS} s behind", clock_behind),
    Check(f"results while the clock is {CLOCK_SECONDS} s ahead", clock_ahead),
    Check("deletion of results", deletion),
    _disturbed("upload aborted by another", disturbances.upload_aborted_by_another),
    Check("create-only, as the probe shows it", create_only),
    _disturbed("keys exchanged on the way", disturbances.keys_exchanged_on_the_way),
)


@contextmanager
def _bench(kind: type[Server]) -> Iterator[BucketBench]:
    folder = Path(tempfile.mkdtemp(prefix="tarpon-matrix-"))
    (folder / "server").mkdir()
    server = kind(folder / "server")
    bench = BucketBench(folder, server)
    try:
        server.start()
        yield bench
    finally:
        try:
            bench.end()
        finally:
            server.stop()
            shutil.rmtree(folder, ignore_errors=True)


PEERS: Sequence[Peer[BucketBench]] = tuple(Peer(name, kind.version, partial(_bench, kind)) for name, kind in SERVERS)
