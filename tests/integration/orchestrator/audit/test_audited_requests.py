"""What changes something over HTTP has its line in the audit log before it is answered."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.audit.lines import AuditLine
from shared.protocol.capabilities import READ_JOB
from tests.audit_logs import full_at, lines_in, lines_of
from tests.integration.fed_api import JOBS, NODES, FedApi
from tests.integration.orchestrator.api.test_identity import ASKS, known
from tests.integration.running import Running, running_orchestrator
from tests.servers import S3Server

TASK = {"Name": "main", "Engine": {"Type": "noop"}}
JOB = {"Name": "sums", "Type": "batch", "Tasks": [TASK]}


@pytest.fixture
async def running(tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Running]:
    async with running_orchestrator(tmp_path, s3_server, monkeypatch, publisher=False) as made:
        yield made


def last(running: Running) -> AuditLine:
    return lines_of(running.config.data_dir)[-1]


async def test_a_change_that_is_answered_has_its_line(running: Running) -> None:
    job = (await running.ask(JOBS, "PUT", {"Job": JOB})).json["JobID"]
    line = last(running)
    assert (line.action, line.operation, line.object, line.namespace) == ("write:job", "submit", job, "default")
    assert (line.kind, line.source, line.outcome) == ("anonymous", "127.0.0.1", "done")
    await running.ask(f"{JOBS}/sums", "DELETE")
    assert (last(running).operation, last(running).object) == ("stop_job", job)
    await running.ask(f"{JOBS}/{job}/record", "DELETE")
    assert (last(running).operation, last(running).object) == ("delete_job", job)


@pytest.mark.parametrize(
    ("path", "method", "body", "told"),
    [
        ("/secrets/db", "PUT", {"Value": "correct-horse"}, ("put_secret", "db", "default")),
        ("/tokens", "PUT", {}, ("create_token", None, "")),
        ("/users", "PUT", {"Name": "maria", "Capabilities": ["read:job"]}, ("create_user", "maria", "")),
        ("/namespaces/a", "PUT", {"Weight": 2}, ("set_namespace", "a", "")),
        ("/submissions", "PUT", {"Jobs": [JOB]}, ("submit_all", None, "default")),
    ],
)
async def test_each_kind_of_change_has_its_object(
    running: Running, path: str, method: str, body: Any, told: tuple[str, str | None, str]
) -> None:
    answer = await running.ask(f"/api/v1/orchestrator{path}", method, body)
    assert answer.status == 200, answer.body
    line = last(running)
    assert (line.operation, line.namespace, line.outcome) == (told[0], told[2], "done")
    assert line.object == told[1] if told[1] is not None else line.object


async def test_what_only_reads_has_no_line(running: Running) -> None:
    before = last(running).seq
    await running.ask(JOBS)
    await running.ask(f"{JOBS}/diff", "PUT", {"Job": JOB})
    assert last(running).seq == before


async def test_a_change_that_is_refused_is_told_with_its_code(running: Running) -> None:
    await running.ask(f"{JOBS}/nothing", "DELETE")
    await running.ask(f"{NODES}/n-1", "PUT", {"Action": "approve"})
    job = (await running.ask(JOBS, "PUT", {"Job": JOB})).json["JobID"]
    *_, first, second, third = lines_of(running.config.data_dir)
    assert (first.operation, first.outcome, first.code) == ("stop_job", "refused", "JobNotFound")
    assert (second.operation, second.outcome, second.code) == ("approve", "refused", "NodeNotFound")
    assert third.object == job


async def test_while_the_disk_is_full_nothing_is_changed_and_all_can_be_read(running: Running) -> None:
    path = running.config.data_dir / "orchestrator" / "audit" / "audit.jsonl"
    with full_at(path.stat().st_size):
        refused = await running.ask(JOBS, "PUT", {"Job": JOB})
        assert (refused.status, refused.json["Code"]) == (503, "AuditUnwritable")
        assert refused.json["Hint"]
        refused = await running.ask(JOBS, "PUT", {"Job": JOB | {"Name": "second"}})
        assert "Nothing is changed" in refused.json["Message"]
        names = [each["Name"] for each in (await running.ask(JOBS)).json["Items"]]
        assert "second" not in names


async def test_who_has_a_key_is_told_by_its_name_and_a_stranger_by_its_address(tmp_path: Path) -> None:
    async with FedApi(ASKS, audit_folder=tmp_path).serving() as api:
        user = known(api, READ_JOB)
        await api.ask(JOBS, "PUT", {"Job": JOB}, headers=user.bearer)
        await api.ask(JOBS, "PUT", {"Job": JOB}, headers={"Authorization": "Bearer what-is-this-secret"})
        for _ in range(60):
            await api.ask(JOBS, "PUT", {"Job": JOB})
    path = tmp_path / "audit.jsonl"
    refused = [each for each in lines_in(path) if each.outcome == "refused"]
    assert [(each.kind, each.who, each.code) for each in refused[:2]] == [
        ("key", "maria", "CapabilityMissing"),
        ("stranger", "", "KeyWrong"),
    ]
    assert len(refused) < 20
    assert sum(each.times for each in refused if each.code == "KeyMissing") == 60
    assert b"what-is-this-secret" not in path.read_bytes()
