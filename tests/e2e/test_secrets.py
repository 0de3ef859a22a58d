"""Secrets of tasks, from the command line to the task and nowhere else, with each engine there is."""

import base64
import contextlib
import hashlib
import json
import urllib.error
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import ended
from tests.e2e.stack import Stack, assert_nothing_leaked, wait_until
from tests.engine import IMAGE, TestEngine
from tests.recording_proxy import RecordingProxy
from tests.servers import HOST, S3Server
from tests.spares import is_empty_spare

PASSWORD = "correct-horse-battery-staple-4711"
KEY = b"-----BEGIN KEY-----\nqwertzuiop\n\xff\x00-----END KEY-----\n"
NODE = "node-a"
PATH = "/run/secrets/deep/db-key"
OUTPUTS = {"Name": "outputs", "Path": "/outputs"}
ENGINES = ("process", "docker_engine", "podman_engine")


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Iterator[tuple[str, TestEngine | None]]:
    """The kind of an engine, and the one that runs its containers."""
    kind = str(request.param)
    found = None if kind == "process" else request.getfixturevalue(kind)
    yield kind, found
    if found is not None:
        found.remove_containers(f"tarpon.node={NODE}")


@pytest.fixture(scope="module")
def kind(engine: tuple[str, TestEngine | None]) -> str:
    return engine[0]


@pytest.fixture(scope="module")
def with_node(
    engine: tuple[str, TestEngine | None], s3_server: S3Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """One node, behind a proxy that records, shared by the tests of an engine.

    Nothing of a secret is anywhere in the end.
    """
    stack = Stack(tmp_path_factory.mktemp("secrets"), s3_server)
    stack.shown = tmp_path_factory.getbasetemp()
    stack.start_orchestrator()
    with RecordingProxy(stack.nats_port).running() as proxy:
        stack.start_compute(
            NODE,
            Compute_Orchestrators=f"nats://{HOST}:{proxy.port}",
            Engines_Types_Docker_Socket="" if engine[1] is None else engine[1].url,
        )
        stack.cli("secret", "put", "db-password", stdin=f"{PASSWORD}\n")
        (stack.root / "key").write_bytes(KEY)
        stack.cli("secret", "put", "db-key", "--from-file", str(stack.root / "key"))
        (stack.root / "key").unlink()
        yield stack
        ended(stack)
        seen = bytes(proxy.seen)
    for value in (PASSWORD.encode(), KEY):
        assert value not in seen
        assert base64.b64encode(value).rstrip(b"=") not in seen
    assert_nothing_leaked(stack.root, [], {PASSWORD, "qwertzuiop"})


def job(kind: str, script: str, **task: Any) -> dict[str, Any]:
    if kind == "process":
        chosen = {"Type": "process", "Params": {"Entrypoint": ["/bin/sh", "-c"], "Parameters": [script]}}
    else:
        params = {"Image": IMAGE, "Entrypoint": ["/bin/sh", "-c"], "Parameters": [script]}
        chosen = {"Type": "docker", "Params": params}
    main = {
        "Name": "main",
        "Engine": chosen,
        "Publisher": {"Type": "s3managed"},
        "Env": {"DB_PASSWORD": "secret:db-password"},
        "Secrets": [{"Name": "db-key", "Path": PATH}],
        "ResultPaths": [OUTPUTS],
    }
    return {"Type": "batch", "Tasks": [{**main, **task}]}


def key_path(kind: str) -> str:
    return f"$HOME{PATH}" if kind == "process" else PATH


def outputs_path(kind: str) -> str:
    return "$HOME/outputs" if kind == "process" else "/outputs"


def secret_folders(stack: Stack) -> list[str]:
    folder = stack.root / NODE / "compute" / "secrets"
    return sorted(each.name for each in folder.iterdir()) if folder.is_dir() else []


def command_lines() -> list[bytes]:
    """Of all processes of the machine, as every user sees them."""
    found = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has ended
            found.append(process.read_bytes())
    return found


def output_of(stack: Stack, of: str) -> dict[str, Any]:
    (execution,) = stack.describe(of)["Executions"]["Items"]
    found: dict[str, Any] = execution["RunOutput"]
    return found


def test_a_task_has_its_secrets_as_variable_and_as_file_and_nobody_else_has(with_node: Stack, kind: str) -> None:
    script = f'printf %s "$DB_PASSWORD" | md5sum; md5sum < {key_path(kind)}; [ -w {key_path(kind)}.x ] || echo closed'
    made = with_node.submit(job(kind, script))
    assert with_node.wait_ended(made)["Job"]["State"]["StateType"] == "Completed"
    password, key = (hashlib.md5(each, usedforsecurity=False).hexdigest() for each in (PASSWORD.encode(), KEY))
    assert output_of(with_node, made)["Stdout"] == f"{password}  -\n{key}  -\nclosed\n"
    told = json.dumps(with_node.describe(made)) + with_node.cli("job", "describe", made).stdout
    assert PASSWORD not in told
    assert "secret:db-password" in told
    wait_until(lambda: not secret_folders(with_node), within=10, what="the files of secrets are removed")


def test_the_file_of_a_secret_cannot_be_written_and_is_for_the_task_alone(with_node: Stack, kind: str) -> None:
    script = f"stat -L -c %a {key_path(kind)}; (echo x >> {key_path(kind)}) 2> /dev/null || echo refused"
    made = with_node.submit(job(kind, script))
    assert with_node.wait_ended(made)["Job"]["State"]["StateType"] == "Completed"
    # Without a container the task has the node's own user, which is root here and writes whatever it likes.
    assert output_of(with_node, made)["Stdout"].splitlines()[:1] == ["400" if kind == "process" else "444"]
    if kind != "process":
        assert output_of(with_node, made)["Stdout"].splitlines()[1] == "refused"


def left_by_tasks(stack: Stack) -> list[Path]:
    return list((stack.root / NODE / "compute" / "executions").iterdir())


def test_what_a_task_prints_itself_is_masked_in_records(with_node: Stack, kind: str, tmp_path: Path) -> None:
    made = with_node.submit(job(kind, 'echo "I am $DB_PASSWORD, really"; echo "$DB_PASSWORD" >&2'))
    assert with_node.wait_ended(made)["Job"]["State"]["StateType"] == "Completed"
    output = output_of(with_node, made)
    assert (output["Stdout"], output["stderr"]) == ("I am ***, really\n", "***\n")
    with_node.cli("job", "get", made, "--output-dir", str(tmp_path))
    assert (tmp_path / "stdout").read_text() == f"I am {PASSWORD}, really\n"
    with_node.cli("job", "delete", made)  # its result is the task's own affair
    wait_until(lambda: all(map(is_empty_spare, left_by_tasks(with_node))), within=20, what="gone")


def test_the_words_of_an_engine_that_quote_a_secret_are_masked(with_node: Stack, kind: str) -> None:
    """A secret that becomes the command cannot be started, and the engine says so by quoting it."""
    params: dict[str, Any] = {"Entrypoint": ["/bin/sh", "-c", 'exec "/no-such/$DB_PASSWORD"']}
    if kind != "process":
        params["Image"] = IMAGE
    made = with_node.submit(
        job(kind, "", Engine={"Type": "process" if kind == "process" else "docker", "Params": params})
    )
    with_node.wait_ended(made)
    assert "***" in json.dumps(with_node.describe(made))
    assert PASSWORD not in json.dumps(with_node.describe(made))
    with_node.cli("job", "delete", made)
    wait_until(lambda: all(map(is_empty_spare, left_by_tasks(with_node))), within=20, what="gone")


def test_neither_the_journal_of_a_killed_node_nor_its_next_start_keeps_a_secret(with_node: Stack, kind: str) -> None:
    go = f"{outputs_path(kind)}/go"
    made = with_node.submit(job(kind, f"until [ -e {go} ]; do sleep 0.05; done; md5sum < {key_path(kind)}"))
    with_node.wait_state(made, "Running")
    (execution,) = with_node.describe(made)["Executions"]["Items"]
    wait_until(lambda: secret_folders(with_node) == [execution["ID"]], within=20, what="those of earlier tasks go")
    assert not [line for line in command_lines() if PASSWORD.encode() in line]
    with_node.computes[NODE].kill()
    journal = (with_node.root / NODE / "compute" / "journal.jsonl").read_bytes()
    assert b"secret:db-password" in journal
    assert PASSWORD.encode() not in journal
    assert b"qwertzuiop" not in journal
    with_node.computes[NODE].start()
    with_node.wait_connected(NODE)
    if kind == "process":  # the task ended with its node, and is tried again
        wait_until(lambda: execution["ID"] not in secret_folders(with_node), within=20, what="its files are removed")
        with_node.cli("job", "stop", made)
        with_node.wait_ended(made)
    else:  # it has gone on, with what it was given
        (with_node.root / NODE / "compute" / "executions" / execution["ID"] / "workspace" / "outputs" / "go").touch()
        assert with_node.wait_ended(made)["Job"]["State"]["StateType"] == "Completed"
        output = output_of(with_node, made)
        assert (output["Stdout"], output["StdoutTruncated"]) == ("", True), "nobody knows any more what to mask"
    wait_until(lambda: not secret_folders(with_node), within=20, what="the files of secrets are removed")


# ---- what goes wrong -------------------------------------------------------------------------------------------------


def _with_two_secrets(stack: Stack) -> Stack:
    stack.start_orchestrator()
    stack.start_compute(NODE)
    stack.cli("secret", "put", "db-password", stdin=PASSWORD)
    stack.cli("secret", "put", "db-key", stdin="another value")
    return stack


@pytest.fixture
def alone(stack: Stack) -> Stack:
    """An orchestrator with two secrets, and a node that runs commands."""
    return _with_two_secrets(stack)


@pytest.fixture(scope="module")
def kept(s3_server: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The same, for tests that leave the secrets as they are."""
    made = Stack(tmp_path_factory.mktemp("kept"), s3_server)
    made.shown = tmp_path_factory.getbasetemp()
    yield _with_two_secrets(made)
    ended(made)


def refused(stack: Stack, wanted: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    with pytest.raises(urllib.error.HTTPError) as caught:
        stack.submit(wanted)
    with caught.value as answer:
        return answer.code, json.load(answer)


def test_a_secret_that_is_not_there_is_told_at_submit_with_the_one_that_was_meant(kept: Stack) -> None:
    status, told = refused(kept, job("process", "true", Env={"A": "secret:db-pasword"}))
    assert (status, told["Code"]) == (400, "SecretUnknown")
    assert "'db-pasword'" in told["Message"]
    assert "Did you mean 'db-password'?" in told["Hint"]


def test_a_secret_of_another_namespace_is_none(kept: Stack) -> None:
    status, told = refused(kept, {**job("process", "true"), "Namespace": "other"})
    assert (status, told["Code"]) == (400, "SecretUnknown")
    assert "Did you mean" not in told["Hint"]
    assert kept.cli("secret", "list", "--namespace", "other", "--output", "json").stdout.strip() == "[]"


def test_an_execution_whose_secret_was_deleted_fails_for_that_and_a_rerun_has_the_new_one(alone: Stack) -> None:
    alone.computes[NODE].stop()
    made = alone.submit(job("process", 'printf %s "$DB_PASSWORD" | md5sum'))
    alone.cli("secret", "delete", "db-password")
    alone.computes[NODE].start()
    found = alone.wait_ended(made)
    assert found["Job"]["State"]["StateType"] == "Failed"
    assert len(found["Executions"]["Items"]) == 1
    details = [item["Event"]["Details"] for item in found["History"]["Items"] if item["Event"].get("Details")]
    assert any(each.get("ErrorCode") == "SecretUnavailable" and each["Retryable"] == "false" for each in details)
    alone.cli("secret", "put", "db-password", stdin="new value of it")
    alone.cli("job", "rerun", made)
    assert alone.wait_ended(made)["Job"]["State"]["StateType"] == "Completed"


def test_a_job_that_has_its_secret_and_its_working_directory_in_one_place_is_its_own_fault(kept: Stack) -> None:
    wanted = job("process", "true")
    for folder in (PATH[1:], f"{PATH[1:]}/below"):
        wanted["Tasks"][0]["Engine"]["Params"]["WorkingDirectory"] = folder
        found = kept.wait_ended(kept.submit(wanted))
        assert found["Job"]["State"]["StateType"] == "Failed"
        assert f"in the place of the secret {PATH}" in found["Job"]["State"]["Message"]
    assert not secret_folders(kept)


def test_without_the_key_secrets_are_refused_and_said_to_be_until_they_are_put_again(alone: Stack) -> None:
    orchestrator = alone.orchestrator
    assert orchestrator is not None
    orchestrator.stop()
    (alone.root / "orchestrator" / "orchestrator" / "secrets" / "task-secrets.key").unlink()
    orchestrator.start()
    alone.wait_ready()
    wait_until(lambda: "2 secrets of tasks" in orchestrator.text(), within=10, what="it warns")
    assert "stored under another key" in alone.cli("secret", "list").stdout
    status, told = refused(alone, job("process", "true"))
    assert (status, told["Code"]) == (409, "SecretUnreadable")
    for name in ("db-password", "db-key"):
        alone.cli("secret", "put", name, stdin="put again")
    assert alone.wait_ended(alone.submit(job("process", "true")))["Job"]["State"]["StateType"] == "Completed"


def test_no_route_gives_a_value_back(kept: Stack) -> None:
    listed = kept.api("/orchestrator/secrets")
    assert [each["Name"] for each in listed["Secrets"]] == ["db-key", "db-password"]
    assert PASSWORD not in json.dumps(listed)
    with pytest.raises(urllib.error.HTTPError) as caught:
        kept.api("/orchestrator/secrets/db-password")
    with caught.value as answer:
        assert answer.code == 405


@pytest.mark.parametrize(
    ("name", "body", "code"),
    [
        ("a.b", {"Value": "correct-horse"}, "InvalidId"),
        ("a", {"Value": ""}, "SecretEmpty"),
        ("a", {"Value": "correct-horse" * 6000}, "SecretTooLarge"),
        ("a", {"Value": "correct-horse", "Encoding": "base64"}, "InvalidInput"),
        ("a", {"Value": "correct-horse", "Encoding": "rot13"}, "InvalidInput"),
        ("a", {"Value": ["correct-horse"]}, "InvalidDocument"),
        ("a", {"value": "correct-horse", "VALUE": "correct-horse"}, "InvalidDocument"),
        ("a", {}, "InvalidDocument"),
    ],
)
def test_what_cannot_be_stored_is_told_without_repeating_it(
    running: Stack, name: str, body: dict[str, Any], code: str
) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        running.api(f"/orchestrator/secrets/{name}", body, "PUT")
    with caught.value as answer:
        told = json.load(answer)
    assert told["Code"] == code
    assert "correct-horse" not in json.dumps(told)


def test_a_secret_that_is_no_text_is_no_variable(running: Stack) -> None:
    running.api("/orchestrator/secrets/binary", {"Value": "/w==", "Encoding": "base64"}, "PUT")
    status, told = refused(running, job("process", "true", Env={"A": "secret:binary"}, Secrets=[]))
    assert (status, told["Code"]) == (400, "SecretNotText")


def test_the_secrets_of_one_task_are_bounded_together(running: Stack) -> None:
    for number in range(5):
        running.cli("secret", "put", f"large-{number}", "--namespace", "bounded", stdin="x" * 60_000)
    large = [{"Name": f"large-{number}", "Path": f"/run/{number}"} for number in range(5)]
    wanted = {**job("process", "true", Env={}, Secrets=large), "Namespace": "bounded"}
    assert refused(running, wanted)[1]["Code"] == "TaskSecretsTooLarge"
    wanted["Tasks"][0]["Secrets"] = large[:4]
    assert running.wait_ended(running.submit(wanted))["Job"]["State"]["StateType"] == "Completed"


def test_what_is_deleted_twice_is_told_with_what_was_meant(running: Stack) -> None:
    running.cli("secret", "put", "gone", stdin="a value")
    running.cli("secret", "delete", "gone")
    done = running.cli("secret", "delete", "gone", check=False)
    assert done.returncode != 0
    assert "[SecretNotFound]" in done.stderr


def test_one_line_end_at_the_end_of_stdin_is_left_out(running: Stack) -> None:
    for text, size in (("value\n", 5), ("value\r\n", 5), ("value\n\n", 6), ("value", 5)):
        put = running.cli("secret", "put", "lines", "--output", "json", stdin=text)
        assert json.loads(put.stdout)["SizeBytes"] == size, text
