"""The audit log of an orchestrator that is killed, as `tarpon audit` shows it on that machine."""

import json
import urllib.error
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.e2e.stack import Stack, process_job, wait_until

NOOP = {"Type": "batch", "Tasks": [{"Name": "main", "Engine": {"Type": "noop"}}]}
SENDERS = 4


def here(stack: Stack) -> tuple[str, str]:
    return "-c", f"DataDir={stack.root / 'orchestrator'}"


def listed(stack: Stack, *options: str) -> list[dict[str, Any]]:
    text = stack.cli(*here(stack), "audit", "list", "--output", "json", *options).stdout
    return [json.loads(line) for line in text.splitlines()]


def checked(stack: Stack, *, whole: bool = True) -> dict[str, Any]:
    done = stack.cli(*here(stack), "audit", "check", "--output", "json", check=False)
    assert done.returncode == (0 if whole else 1), done.stdout
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def submit_until_it_is_killed(stack: Stack, acknowledged: list[str]) -> None:
    with suppress(OSError, urllib.error.URLError):
        while True:
            acknowledged.append(stack.submit(NOOP))


def _has(items: Sequence[str], count: int) -> bool:
    return len(items) >= count


def log_of(stack: Stack) -> Path:
    return stack.root / "orchestrator" / "orchestrator" / "audit" / "audit.jsonl"


def objects(lines: Sequence[dict[str, Any]]) -> set[str]:
    return {each["Object"] for each in lines}


def test_what_was_acknowledged_has_its_line_whenever_an_orchestrator_is_killed(stack: Stack) -> None:
    known: set[str] = set()
    for _ in range(2):
        acknowledged: list[str] = []
        orchestrator = stack.start_orchestrator()
        with ThreadPoolExecutor(SENDERS) as pool:
            for _ in range(SENDERS):
                pool.submit(submit_until_it_is_killed, stack, acknowledged)
            wait_until(partial(_has, acknowledged, 20), within=60, what="jobs are submitted")
            orchestrator.kill()
        known.update(acknowledged)
        with log_of(stack).open("ab") as file:
            file.write(b'{"Seq":')  # what a kill in the middle of a write leaves
    stack.start_orchestrator()
    found = checked(stack)
    assert {each["Kind"] for each in found["Findings"]} == {"mended"}
    assert (found["First"], found["Lines"]) == (1, found["Last"])
    lines = listed(stack, "--action", "submit")
    assert known <= objects(lines)
    assert [each["Operation"] for each in listed(stack, "--who", "orchestrator")] == ["start", *["mend", "start"] * 2]


def test_the_log_can_be_read_and_checked_without_an_orchestrator(stack: Stack) -> None:
    orchestrator = stack.start_orchestrator()
    jobs = [stack.submit(NOOP) for _ in range(3)]
    stack.cli("secret", "put", "db", stdin="correct-horse\n")
    stack.cli("secret", "delete", "db")
    stack.cli("job", "stop", "j-none", check=False)
    orchestrator.stop()
    assert [each["Operation"] for each in listed(stack, "--object", "db")] == ["put_secret", "delete_secret"]
    assert "correct-horse" not in log_of(stack).read_text()
    assert [each["Code"] for each in listed(stack, "--outcome", "refused")] == ["JobNotFound"]
    assert not listed(stack, "--since", "2100-01-01")
    text = stack.cli(*here(stack), "audit", "list", "--who", "anonymous").stdout
    assert f"write:job submit  {jobs[1]} [default]" in text
    assert not checked(stack)["Findings"]
    content = log_of(stack).read_bytes().splitlines(keepends=True)
    log_of(stack).write_bytes(b"".join(content[:2] + content[3:]))
    assert [each["Kind"] for each in checked(stack, whole=False)["Findings"]] == ["gap"]
    assert "lines before it are missing" in stack.cli(*here(stack), "audit", "check", check=False).stdout


def test_no_secret_of_any_kind_is_in_the_log(stack: Stack) -> None:
    """What is given out is looked for in it too; the stack itself looks for the secrets of its processes."""
    orchestrator = stack.start_orchestrator(Logging_Level="debug")
    key = stack.api("/orchestrator/users", {"Name": "ann", "Capabilities": ["write:job", "read:job"]}, "PUT")["Key"]
    token = stack.api("/orchestrator/tokens", {}, "PUT")["Text"]
    stack.api("/orchestrator/secrets/db", {"Value": "correct-horse-4711"}, "PUT")
    stack.start_compute("node-a", token=token)
    wait_until(lambda: "node-a" in str(stack.api("/orchestrator/nodes")), within=90, what="the node is there")
    with suppress(urllib.error.HTTPError):
        stack.api(
            "/orchestrator/users", {"Name": "x", "Capabilities": ["*"]}, "PUT", {"Authorization": f"Bearer {key}"}
        )
    job = stack.submit(process_job("echo hello > $TARPON_OUTPUTS/x 2>/dev/null; true"))
    wait_until(lambda: stack.describe(job)["Job"]["State"]["StateType"] == "Completed", within=90, what="it completes")
    url = stack.api(f"/orchestrator/jobs/{job}/results")["Items"][0]["Params"]["PreSignedURL"]
    orchestrator.stop()
    told = {each["Action"] for each in listed(stack)}
    assert {"sign", "join", "write:job", "write:node", "*"} <= told
    text = log_of(stack).read_text()
    signature = parse_qs(urlsplit(url).query)["X-Amz-Signature"][0]
    for secret in (key, key.partition("_")[2], token, token.partition("_")[2], "correct-horse-4711", signature, url):
        assert secret not in text
    assert "X-Amz" not in text


def test_a_machine_without_a_log_is_told_where_to_look(stack: Stack) -> None:
    done = stack.cli(*here(stack), "audit", "list", check=False)
    assert done.returncode == 1
    assert "There is no audit log" in done.stderr
    assert "orchestrator's machine" in done.stderr
