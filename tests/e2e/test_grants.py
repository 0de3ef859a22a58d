"""Signed URLs that expire, and the credentials behind them, in whole runs."""

import asyncio
import re
import uuid
from pathlib import Path

from tests.e2e.stack import NO_SANDBOX, Stack, process_job, wait_until
from tests.instance_role import instance_role
from tests.servers import Keys, aws_environment


def _assert_completes(stack: Stack, script: str = "true") -> str:
    job_id = stack.submit(process_job(script))
    described = stack.wait_ended(job_id)
    assert described["Job"]["State"]["StateType"] == "Completed", described["Job"]["State"]
    return job_id


def test_a_url_that_expired_while_the_task_ran_is_renewed(stack: Stack) -> None:
    stack.start_orchestrator(publisher=stack.publisher_settings(PreSignedURLExpiration="2s"))
    stack.start_compute("node-a")
    job_id = _assert_completes(stack, "sleep 5; echo late")
    stack.cli("job", "get", job_id)
    assert (stack.root / f"job-{job_id}" / "stdout").read_text() == "late\n"


def _write_keys(file: Path, keys: Keys) -> None:
    file.touch(mode=0o600)
    file.write_text(f"[default]\naws_access_key_id = {keys.access}\naws_secret_access_key = {keys.secret}\n")


def test_credentials_from_a_shared_file_work(stack: Stack) -> None:
    file = stack.root / "credentials"
    _write_keys(file, stack.s3.orchestrator)
    stack.start_orchestrator(aws=aws_environment() | {"AWS_SHARED_CREDENTIALS_FILE": str(file)})
    stack.start_compute("node-a")
    _assert_completes(stack)


def test_keys_that_are_exchanged_in_the_shared_file_are_picked_up_when_s3_refuses_the_old_ones(stack: Stack) -> None:
    file = stack.root / "credentials"
    _write_keys(file, stack.s3.orchestrator)
    stack.start_orchestrator(aws=aws_environment() | {"AWS_SHARED_CREDENTIALS_FILE": str(file)})
    stack.start_compute("node-a")
    _assert_completes(stack)
    stack.s3.stop()
    stack.s3.orchestrator = Keys("AKEXCHANGED" + uuid.uuid4().hex[:6].upper(), uuid.uuid4().hex)
    stack.s3.start()
    _write_keys(file, stack.s3.orchestrator)
    _assert_completes(stack)


async def test_credentials_of_an_instance_role_that_expire_during_the_run_work(stack: Stack) -> None:
    async with instance_role(stack.s3.orchestrator, life_seconds=8) as role:
        await asyncio.to_thread(stack.start_orchestrator, aws=role.environment())
        await asyncio.to_thread(stack.start_compute, "node-a")
        first = len(role.expirations)
        while len(role.expirations) < first + 3:
            job_id = await asyncio.to_thread(_assert_completes, stack)
            lifetime = await asyncio.to_thread(_lifetime_of_results, stack, job_id)
            assert 0 < lifetime <= 8


def _lifetime_of_results(stack: Stack, job_id: str) -> int:
    """Seconds for which the URL that a user gets is valid."""
    (item,) = stack.api(f"/orchestrator/jobs/{job_id}/results")["Items"]
    found = re.search(r"X-Amz-Expires=(\d+)", item["Params"]["PreSignedURL"])
    assert found is not None
    return int(found[1])


def test_the_task_runs_once_while_s3_is_away_and_its_result_is_published_when_it_is_back(stack: Stack) -> None:
    stack.start_orchestrator()
    stack.start_compute("node-a", Engines_Types_Process_Sandbox=NO_SANDBOX)
    counter = stack.root / "runs"
    job_id = stack.submit(process_job(f"echo run >> {counter}; echo kept"))
    stack.s3.stop()
    try:
        wait_until(counter.exists, within=20, what="the task has run")
    finally:
        stack.s3.start()
    described = stack.wait_ended(job_id, within=60)
    assert described["Job"]["State"]["StateType"] == "Completed"
    assert Path(counter).read_text() == "run\n"
