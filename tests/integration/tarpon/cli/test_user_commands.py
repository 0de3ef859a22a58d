"""`tarpon user ...`, and which orchestrator commands ask with which key."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.running import Running, running_orchestrator
from tests.servers import S3Server

Done = subprocess.CompletedProcess[str]


@pytest.fixture
async def asking(tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Running]:
    """An orchestrator that asks for a key over TCP."""
    sets = ("API.Auth.Anonymous=false",)
    async with running_orchestrator(tmp_path, s3_server, monkeypatch, publisher=False, sets=sets) as running:
        yield running


async def tarpon(*arguments: str, **variables: str) -> Done:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TARPON_", "BACALHAU_", "AWS_"))}
    command = [sys.executable, "-m", "tarpon", *arguments]
    return await asyncio.to_thread(
        subprocess.run, command, env=kept | variables, capture_output=True, text=True, timeout=60, check=False
    )


def here(running: Running) -> dict[str, str]:
    return {"TARPON_DIR": str(running.config.data_dir)}


def over_tcp(running: Running, key: str = "") -> dict[str, str]:
    found = {"TARPON_API_HOST": "127.0.0.1", "TARPON_API_PORT": str(running.config.api.port)}
    return {**found, "TARPON_API_KEY": key} if key else found


def key_of(done: Done) -> str:
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().removeprefix("export TARPON_API_KEY=").strip("'")


async def test_on_ones_own_machine_nothing_has_to_be_typed(asking: Running) -> None:
    assert (await tarpon("node", "list", **here(asking))).returncode == 0
    refused = await tarpon("node", "list", **over_tcp(asking))
    assert refused.returncode == 1
    assert "this takes a key, and none is shown" in refused.stderr
    assert "[KeyMissing]" in refused.stderr
    assert "Hint:" in refused.stderr


async def test_a_key_is_printed_as_the_line_to_paste_and_shown_nowhere_else(asking: Running) -> None:
    made = await tarpon("user", "create", "maria", "--capability", "read:job", "--namespace", "a", **here(asking))
    assert made.stdout.startswith("export TARPON_API_KEY=tk1_")
    assert "User maria may read:job in the namespaces a." in made.stderr
    key = key_of(made)
    assert (await tarpon("job", "list", **over_tcp(asking, key))).returncode == 0
    forbidden = await tarpon("node", "list", **over_tcp(asking, key))
    assert "it takes 'read:node'" in forbidden.stderr
    assert "[CapabilityMissing]" in forbidden.stderr
    listed = await tarpon("user", "list", **here(asking))
    assert "maria" in listed.stdout
    assert key not in listed.stdout


async def test_a_key_is_told_to_programs_as_json(asking: Running) -> None:
    made = await tarpon("user", "create", "ci", "--expires", "1h", "--output", "json", **here(asking))
    told = json.loads(made.stdout)
    assert told["Key"].startswith("tk1_")
    assert told["User"]["Expires"] > told["User"]["CreateTime"]
    users = json.loads((await tarpon("user", "list", "--output", "json", **here(asking))).stdout)
    assert [user["Name"] for user in users] == ["ci"]


async def test_a_revoked_key_opens_nothing_more(asking: Running) -> None:
    key = key_of(await tarpon("user", "create", "maria", **here(asking)))
    revoked = await tarpon("user", "revoke", "maria", **here(asking))
    assert revoked.stdout == "User maria is revoked.\n"
    done = await tarpon("job", "list", **over_tcp(asking, key))
    assert (done.returncode, "[KeyRevoked]" in done.stderr) == (1, True)
    assert "revoked 20" in (await tarpon("user", "list", **here(asking))).stdout


async def test_the_first_user_is_made_by_who_runs_the_orchestrator(asking: Running) -> None:
    made = await tarpon("user", "bootstrap", **here(asking))
    assert "User admin may * in all namespaces." in made.stderr
    assert (await tarpon("user", "list", **over_tcp(asking, key_of(made)))).returncode == 0
    again = await tarpon("user", "bootstrap", **here(asking))
    assert "[UserExists]" in again.stderr


async def test_a_bootstrap_where_no_orchestrator_runs_says_where_it_belongs(tmp_path: Path) -> None:
    done = await tarpon("user", "bootstrap", TARPON_DIR=str(tmp_path))
    assert done.returncode == 1
    assert f"No orchestrator of this user runs with {tmp_path}." in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--capability", "read:jobs"), "CapabilityUnknown"),
        (("--namespace", "a.b"), "NamespaceInvalid"),
        (("--expires", "soon"), "InvalidDuration"),
    ],
    ids=lambda value: str(value[0] if isinstance(value, tuple) else value),
)
async def test_what_a_user_cannot_have_is_refused(asking: Running, arguments: tuple[str, ...], code: str) -> None:
    done = await tarpon("user", "create", "maria", *arguments, **here(asking))
    assert f"[{code}]" in done.stderr
    assert "Hint:" in done.stderr


async def test_a_key_that_is_cut_off_is_told_before_anything_is_asked(asking: Running) -> None:
    key = key_of(await tarpon("user", "create", "maria", **here(asking)))
    done = await tarpon("job", "list", **over_tcp(asking, key[:-6]))
    assert done.returncode == 2
    assert "is cut off: its end is missing." in done.stderr
    assert key[:-6] not in done.stderr


async def test_a_key_with_an_address_needs_nothing_else(asking: Running, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{asking.config.api.port}"
    key = key_of(await tarpon("user", "create", "maria", "--address", url, **here(asking)))
    assert (await tarpon("job", "list", TARPON_API_KEY=key, TARPON_DIR=str(tmp_path))).returncode == 0


async def test_names_are_completed_over_the_local_socket_and_with_a_key(asking: Running) -> None:
    job = {"Name": "hello", "Type": "batch", "Tasks": [{"Name": "main", "Engine": {"Type": "noop"}}]}
    file = asking.config.data_dir / "job.json"
    file.write_text(json.dumps(job))
    assert (await tarpon("job", "run", "--wait=false", str(file), **here(asking))).returncode == 0
    key = key_of(await tarpon("user", "create", "maria", **here(asking)))
    asked = {"_TARPON_COMPLETE": "bash_complete", "COMP_WORDS": "tarpon job get hel", "COMP_CWORD": "3"}
    for variables in (here(asking), over_tcp(asking, key)):
        assert "hello" in (await tarpon(**variables, **asked)).stdout


async def test_a_setting_that_names_an_orchestrator_goes_before_the_one_on_this_machine(asking: Running) -> None:
    done = await tarpon("node", "list", "--api-port", "1", **here(asking))
    assert (done.returncode, "http://127.0.0.1:1" in done.stderr) == (3, True)
