"""What a person sees, and a script gets as exit code, when something is wrong: whole processes, nothing running."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.node_environment import node_python
from tests.servers import free_ports


def tarpon(*arguments: str, stdin: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TARPON_")}
    return subprocess.run(
        [sys.executable, "-m", "tarpon", *arguments],
        env=environment | variables,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def away() -> list[str]:
    """Options that name an orchestrator that is not there."""
    return ["--api-port", str(free_ports(1)[0])]


@pytest.fixture
def job_file(tmp_path: Path) -> Path:
    path = tmp_path / "job.yaml"
    path.write_text("Name: a\nType: batch\nTasks: [{Name: main, Engine: {Type: noop}}]\n")
    return path


def test_without_an_orchestrator_the_exit_code_is_3_and_the_hint_tells_what_to_do(job_file: Path) -> None:
    done = tarpon("job", "run", str(job_file), *away())
    assert done.returncode == 3
    assert "No orchestrator answers at http://127.0.0.1:" in done.stderr
    assert ": the connection is refused" in done.stderr
    assert "tarpon devstack" in done.stderr
    assert "[OrchestratorUnreachable]" in done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


def test_a_host_that_nobody_knows_is_told_apart_from_one_where_nothing_listens() -> None:
    done = tarpon("job", "list", "-c", "API.Host=tarpon.invalid")
    assert done.returncode == 3
    assert "No orchestrator answers at http://tarpon.invalid:1234: no such host" in done.stderr


@pytest.mark.parametrize("command", [["job", "list"], ["job", "get", "j"], ["node", "list"], ["agent", "alive"]])
def test_every_command_says_that_nobody_is_there(command: list[str]) -> None:
    assert tarpon(*command, *away()).returncode == 3


def test_global_options_count_before_and_after_the_command() -> None:
    (port,) = free_ports(1)
    before = tarpon("-c", f"API.Port={port}", "job", "list")
    after = tarpon("job", "list", "-c", f"api.port={port}")
    between = tarpon("job", f"--api-port={port}", "list")
    by_environment = tarpon("job", "list", TARPON_API_PORT=str(port))
    for done in (before, after, between, by_environment):
        assert f"127.0.0.1:{port}" in done.stderr


def test_a_job_file_that_is_no_mapping_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "list.yaml"
    path.write_text("- a\n- b\n")
    done = tarpon("job", "run", str(path))
    assert done.returncode == 2
    assert "list.yaml is a list, not a mapping" in done.stderr


def test_an_unknown_key_comes_with_a_suggestion(tmp_path: Path) -> None:
    done = tarpon("job", "run", "-", stdin="Name: a\nTasks: [{Enginee: {Type: noop}}]")
    assert done.returncode == 2
    assert "Tasks[0].Enginee is not known; did you mean Engine?" in done.stderr


def test_a_wrong_type_comes_with_its_path() -> None:
    done = tarpon("job", "run", "-", stdin="Name: a\nTasks: [{Timeouts: {ExecutionTimeout: soon}}]")
    assert done.returncode == 2
    assert "Tasks[0].Timeouts.ExecutionTimeout: expected a whole number" in done.stderr


def test_a_job_file_that_does_not_exist_is_named() -> None:
    done = tarpon("job", "run", "no-such-file.yaml")
    assert done.returncode == 2
    assert "no-such-file.yaml does not exist" in done.stderr


def test_an_unknown_setting_comes_with_a_suggestion() -> None:
    done = tarpon("serve", "-c", "Publishers.Types.S3Managed.Bukket=x")
    assert done.returncode == 2
    assert "did you mean Publishers.Types.S3Managed.Bucket?" in done.stderr


def test_a_publisher_that_is_half_configured_stops_the_start() -> None:
    done = tarpon("serve", "-c", "Publishers.Types.S3Managed.Key=x")
    assert done.returncode == 2
    assert "bucket" in done.stderr.lower()
    assert "region" in done.stderr.lower()


def test_a_command_that_was_mistyped_comes_with_a_suggestion() -> None:
    done = tarpon("jobb")
    assert done.returncode == 2
    assert "job" in done.stderr.partition("Did you mean")[2]


@pytest.mark.parametrize(
    ("command", "instead"),
    [
        (["profile", "list"], "-c FILE"),
        (["help"], "`tarpon --help` lists the commands"),
        (["logs", "my-job"], "Did you mean `tarpon job logs`?"),
        (["list"], "`tarpon job list` or `tarpon node list`"),
        (["ps"], "Did you mean `tarpon job list`?"),
        (["submit", "job.yaml"], "Did you mean `tarpon job run`?"),
        (["job", "cancel", "my-job"], "Did you mean `tarpon job stop`?"),
    ],
)
def test_a_command_of_another_client_is_answered_with_what_there_is_instead(command: list[str], instead: str) -> None:
    done = tarpon(*command)
    assert done.returncode == 2
    assert instead in done.stderr


@pytest.mark.parametrize(
    ("option", "told"),
    [
        (("--state", "Faled"), "did you mean Failed? There are Pending, Queued,"),
        (("--exit-code", "one"), "give a number, such as 1, or nonzero"),
        (("--since", "yesterday"), "such as 30m, 12h or 7d"),
    ],
)
def test_a_condition_that_is_none_is_wrong_usage_before_anybody_is_asked(option: tuple[str, str], told: str) -> None:
    done = tarpon("job", "list", *option, *away())
    assert done.returncode == 2
    assert told in done.stderr


def test_an_unknown_option_is_wrong_usage() -> None:
    done = tarpon("job", "list", "--colour")
    assert done.returncode == 2
    assert "No such option" in done.stderr


def test_get_without_waiting_makes_no_sense(job_file: Path) -> None:
    assert tarpon("job", "run", str(job_file), "--get", "--wait=false").returncode == 2


def test_the_join_line_of_an_orchestrator_that_never_was_is_not_made_up(tmp_path: Path) -> None:
    done = tarpon("node", "token", "show", "-c", f"DataDir={tmp_path / 'none'}")
    assert done.returncode == 1
    assert "No orchestrator has run" in done.stderr
    assert not (tmp_path / "none").exists()


def test_exit_codes_are_listed_in_the_help() -> None:
    for command in ([], ["job", "run"]):
        done = tarpon(*command, "--help")
        assert done.returncode == 0
        assert "3  no orchestrator can be reached" in done.stdout


def test_settings_are_listed_with_their_origin_and_without_secrets() -> None:
    done = tarpon("config", "list", "-c", "API.Port=4321", TARPON_ORCHESTRATOR_AUTH_TOKEN="hush-hush")
    lines = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines()}
    assert lines["API.Port"] == ["4321", "-c"]
    assert lines["Orchestrator.Auth.Token"][1:] == ["environment", "TARPON_ORCHESTRATOR_AUTH_TOKEN"]
    assert "hush-hush" not in done.stdout + done.stderr


def test_the_clients_version_needs_no_orchestrator() -> None:
    done = tarpon("version", "--client")
    assert done.returncode == 0
    assert done.stdout.startswith("Client")


def test_the_clients_version_is_told_also_where_no_orchestrator_answers() -> None:
    done = tarpon("version", *away())
    assert done.returncode == 3
    assert done.stdout.startswith("Client")
    assert "No orchestrator answers" in done.stderr
    as_json = tarpon("version", "--output", "json", *away())
    assert json.loads(as_json.stdout)["client"] in done.stdout


def test_output_that_nobody_reads_any_more_is_no_error() -> None:
    command = f"{sys.executable} -m tarpon config list | head -n 1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == ""


@pytest.mark.parametrize(("command", "extra"), [("serve", "orchestrator"), ("devstack", "devstack")])
def test_packages_that_are_missing_are_named_with_the_command_that_installs_them(
    command: str, extra: str, tmp_path: Path
) -> None:
    done = subprocess.run(
        [str(node_python()), "-m", "tarpon", command, "-c", f"DataDir={tmp_path}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert f"pip install 'tarpon-jobs[{extra}]'" in done.stderr


def test_the_help_imports_no_heavy_library() -> None:
    program = (
        "import sys\n"
        "from tarpon.cli.program import run\n"
        "assert run(['--help']) == 0\n"
        "heavy = {'aiohttp', 'boto3', 'botocore', 'aioboto3', 'rich', 'nats', 'yaml', 'uvloop', 'asyncio'}\n"
        "print('heavy:', sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert "heavy: []" in done.stderr
