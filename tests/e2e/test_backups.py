"""Backups that are taken under load and restored elsewhere, after all that was there is gone."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import threading
import urllib.error
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from tests.documented_policies import give_rights
from tests.e2e.at_work import at_work
from tests.e2e.cluster import Cluster, Orchestrator
from tests.e2e.conftest import ended
from tests.e2e.stack import NO_SANDBOX, Service, Stack, process_job, wait_until
from tests.servers import S3Server

DISCONNECT = "3s"
ENOUGH, ALL_SECONDS = 25, 120.0


class Submitting:
    """Submits jobs one after the other, from several threads; `accepted` are those that were acknowledged."""

    def __init__(self, stack: Stack) -> None:
        self.accepted: list[str] = []
        self._stack = stack
        self._over = threading.Event()

    def going(self) -> AbstractContextManager[None]:
        return at_work(self._over, *[self._submit] * 3)

    def _submit(self) -> None:
        while not self._over.is_set():
            with contextlib.suppress(OSError, urllib.error.URLError):
                self.accepted.append(self._stack.submit(process_job("echo hello > outputs/file")))

    def wait_accepted(self, count: int) -> None:
        wait_until(lambda: len(self.accepted) >= count, within=ALL_SECONDS, what=f"{count} jobs are accepted")


def admin(service: Service, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return command(service, "admin", *arguments, check=check)


def command(service: Service, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """With the settings and the environment of an orchestrator, on its machine."""
    program, settings = service.command[:3], service.command[service.command.index("-c") :]
    done = subprocess.run(
        [*program, *arguments, *settings],
        env=service._environment,
        capture_output=True,
        text=True,
        timeout=ALL_SECONDS,
        check=False,
    )
    assert not check or done.returncode == 0, f"{arguments} ended with {done.returncode}:\n{done.stderr}"
    return done


def admin_agent(service: Service, *arguments: str) -> subprocess.CompletedProcess[str]:
    return command(service, "agent", *arguments, "--output", "json")


def told(done: subprocess.CompletedProcess[str]) -> Any:
    return json.loads(done.stdout)


def destroy(stack: Stack) -> None:
    """What is left of a machine that burns."""
    assert stack.orchestrator is not None
    server = stack.nats_pid()
    for service in (stack.orchestrator, *stack.computes.values()):
        service.kill()
    os.kill(server, signal.SIGKILL)
    for name in ("orchestrator", *stack.computes):
        shutil.rmtree(stack.root / name)


@pytest.fixture
def elsewhere(stack: Stack, s3_server: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Another machine, with the same bucket."""
    made = Stack(tmp_path_factory.mktemp("elsewhere"), s3_server)
    made.bucket, made.shown = stack.bucket, stack.shown
    yield made
    ended(made)


def result_of(stack: Stack, job: str) -> tuple[str, str]:
    """Which execution has the result, and what it is."""
    (found,) = [each for each in stack.describe(job)["Executions"]["Items"] if each["ComputeState"]["StateType"] == 9]
    return found["ID"], found["PublishedResult"]["Params"]["ETag"]


def assert_in_bucket(stack: Stack, jobs: list[str]) -> None:
    objects = {key.split("/")[-1].removesuffix(".tar.gz") for key in stack.objects()}
    assert {result_of(stack, job)[0] for job in jobs} <= objects


def test_a_backup_under_load_has_all_that_was_acknowledged_when_the_machine_is_gone(
    stack: Stack, elsewhere: Stack, tmp_path: Path
) -> None:
    file, gate = tmp_path / "state.backup", tmp_path / "gate"
    service = stack.start_orchestrator(Orchestrator_NodeManager_DisconnectTimeout=DISCONNECT)
    for name in ("node-a", "node-b"):
        stack.start_compute(name, Engines_Types_Process_Sandbox=NO_SANDBOX)
    ended_before = [stack.submit(process_job("echo result > outputs/file")) for _ in range(3)]
    results = {job: (stack.wait_ended(job), result_of(stack, job))[1] for job in ended_before}
    runs = stack.submit(process_job(f"until [ -e {gate} ]; do sleep 0.1; done"))
    stack.wait_state(runs, "Running")
    stack.api("/orchestrator/secrets/db", {"Value": "correct-horse"}, "PUT")
    submitting = Submitting(stack)
    with submitting.going():
        submitting.wait_accepted(ENOUGH)
        acknowledged = list(submitting.accepted)
        taken = told(admin(service, "backup", str(file), "--secrets", "--output", "json"))
        submitting.wait_accepted(len(submitting.accepted) + ENOUGH)
        destroy(stack)
    assert (taken["WithSecrets"], file.stat().st_mode & 0o777) == (True, 0o600)

    service = elsewhere.start_orchestrator(started=False, Orchestrator_NodeManager_DisconnectTimeout=DISCONNECT)
    restored = told(admin(service, "restore", str(file), "--output", "json"))
    assert (restored["Records"], restored["KnowsNodes"]) == (taken["Records"], True)
    service.start()
    elsewhere.wait_ready()
    gate.touch()
    for name in ("node-c", "node-d"):
        elsewhere.start_compute(name, Engines_Types_Process_Sandbox=NO_SANDBOX)
    known = [*ended_before, runs, *acknowledged]
    for job in known:
        assert elsewhere.wait_ended(job, within=ALL_SECONDS)["Job"]["State"]["StateType"] == "Completed"
    assert {job: result_of(elsewhere, job) for job in ended_before} == results, "what had ended is as it was"
    assert_in_bucket(elsewhere, known)
    assert [each["Name"] for each in elsewhere.api("/orchestrator/secrets")["Secrets"]] == ["db"]
    elsewhere.wait_ended(elsewhere.submit(process_job("true")))


@pytest.fixture
def cluster(s3_server: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    made = Cluster(tmp_path_factory.mktemp("cluster"), s3_server)
    try:
        made.start(computes=1)
        yield made
        made.stop()
    finally:
        made.kill()


def completed(orchestrator: Orchestrator, job: str) -> bool:
    return bool(orchestrator.api(f"/orchestrator/jobs/{job}")["Job"]["State"]["StateType"] == "Completed")


def test_a_replicated_state_is_backed_up_and_restored_into_three_empty_servers(
    cluster: Cluster, tmp_path: Path
) -> None:
    file = tmp_path / "state.backup"
    first = cluster.orchestrators[0]
    jobs = [first.api("/orchestrator/jobs", {"Job": process_job("true")}, "PUT")["JobID"] for _ in range(5)]
    admin(first, "backup", str(file))
    refused = admin(first, "restore", str(file), check=False)
    assert refused.returncode == 1
    assert "AlreadyRunning" in refused.stderr

    for service in (*cluster.orchestrators, *cluster.nats):
        service.kill()
    for folder in cluster.root.glob("nats-?"):
        shutil.rmtree(folder)
    for service in cluster.nats:
        service.start()
    restored = told(admin(first, "restore", str(file), "--output", "json"))
    assert (restored["KnowsNodes"], restored["Secrets"]) == (True, [])
    second, third = cluster.orchestrators[1:]
    for each in (second, third):
        each.start()
        each.wait_ready()
    refused = admin(first, "restore", str(file), check=False)
    assert "[OrchestratorRuns]" in refused.stderr
    for job in jobs:
        wait_until(lambda: completed(third, job), within=ALL_SECONDS, what=f"{job} has completed")  # noqa: B023  # at once
    first.start()
    first.wait_ready()
    replicas = told(admin_agent(first, "nats-replicas", "3"))
    assert {each["Before"] for each in replicas} == {3}, "what is restored is on as many servers as before"


def records_in(stack: Stack) -> dict[str, bytes]:
    """What lies beside the results, by its key."""
    client, found = stack.s3.client(), dict[str, bytes]()
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=stack.bucket):
        for each in page.get("Contents", []):
            if each["Key"].endswith(".result.json"):
                found[each["Key"]] = client.get_object(Bucket=stack.bucket, Key=each["Key"])["Body"].read()
    return found


def test_every_verified_result_is_found_by_the_bucket_alone(stack: Stack, elsewhere: Stack, tmp_path: Path) -> None:
    service = stack.start_orchestrator()
    stack.start_compute("node-a")
    job = process_job("echo hello > outputs/file; echo hello")
    jobs = [stack.submit(job | {"Name": "several", "Count": 2}), stack.submit(job | {"Name": "failed"})]
    jobs += [stack.submit(process_job("exit 3", FailOnExitCode=True)), stack.submit(job | {"Namespace": "team-a"})]
    ended_jobs = [stack.wait_ended(each) for each in jobs]
    stack.submit(job | {"Name": "several", "Count": 1, "Priority": 1})  # a second version
    second = stack.wait_ended(jobs[0])
    assert second["Job"]["Version"] == 2
    wait_until(lambda: len(records_in(stack)) == 6, within=30, what="each result has its record")
    key = command(service, "admin", "records-key").stdout.strip()
    results = {each: result_of(stack, each) for each in (jobs[1], jobs[3])}
    destroy(stack)

    forged_key, (moved_key, moved) = f"{stack.prefix}/j-1/e-1.result.json", next(iter(records_in(stack).items()))
    client = stack.s3.client()
    client.put_object(Bucket=stack.bucket, Key=forged_key, Body=moved.replace(b'"sig":"', b'"sig":"AAAA'))
    beside = moved_key.replace("/e-", "/e-0")
    client.put_object(Bucket=stack.bucket, Key=beside, Body=moved)
    service = elsewhere.start_orchestrator(started=False)
    refused = command(service, "admin", "rebuild", check=False)
    assert "[ListForbidden]" in refused.stderr
    give_rights(stack.s3, stack.bucket, "iam-policy-listing.json")
    nothing = command(service, "admin", "rebuild", "--output", "json", check=False)
    assert (nothing.returncode, told(nothing)["Results"], told(nothing)["RefusedTotal"]) == (1, 0, 8)
    done = command(service, "admin", "rebuild", "--signed-by", key, "--output", "json", check=False)
    assert (done.returncode, told(done)["Jobs"], told(done)["Results"]) == (1, 4, 6)
    assert {each["Key"] for each in told(done)["Refused"]} == {forged_key, beside}

    service.start()
    elsewhere.wait_ready()
    assert {each: result_of(elsewhere, each) for each in results} == results
    listed = {each["ID"]: each for each in elsewhere.api("/orchestrator/jobs?limit=100&namespace=*")["Items"]}
    before = {each["Job"]["ID"]: each["Job"] for each in (second, *ended_jobs[1:])}
    for each in ("Name", "Namespace", "Version", "Type", "Count"):
        assert {job: listed[job][each] for job in jobs} == {job: before[job][each] for job in jobs}
    states = {job: each["State"]["StateType"] for job, each in listed.items()}
    assert states == {job: each["State"]["StateType"] for job, each in before.items()}
    elsewhere.cli("job", "get", jobs[1], "--output-dir", str(tmp_path / "got"))
    assert "hello" in (tmp_path / "got" / "stdout").read_text()
    checked = told(admin(service, "check", "--output", "json", check=False))
    assert checked["Counts"] == {"ObjectUnknown": 2}, "the two that do not count"


def test_a_backup_is_taken_from_an_orchestrator_whose_nats_speaks_tls_alone(
    s3_server: S3Server, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    stack = Stack(tmp_path_factory.mktemp("encrypted"), s3_server, encrypted=True)
    try:
        service = stack.start_orchestrator()
        stack.submit(process_job("true"))
        taken = told(admin(service, "backup", str(tmp_path / "state.backup"), "--output", "json"))
        assert taken["Records"] > 0
    finally:
        ended(stack)
