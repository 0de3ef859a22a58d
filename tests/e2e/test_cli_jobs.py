"""Jobs that are run from flags, their versions and what they wrote, as a user sees them."""

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import yaml

from orchestrator.admission.secret_files import SecretSources, load_secrets
from tests.e2e.stack import Stack, process_job, wait_until
from tests.servers import HOST, free_ports

MANY_LINES = 50_000


def written(folder: Path, job: dict[str, Any]) -> str:
    path = folder / "job.yaml"
    path.write_text(yaml.safe_dump(job))
    return str(path)


@pytest.fixture(scope="module")
def long_winded(running: Stack) -> str:
    """A completed job that wrote more than a job's record holds."""
    job_id = running.submit(process_job(f"seq 1 {MANY_LINES}; echo to stderr >&2; printf '\\033[2Jend'"))
    running.wait_ended(job_id)
    return job_id


def test_a_command_runs_without_a_job_file_and_its_output_follows(running: Stack) -> None:
    done = running.cli("exec", "-f", "-e", "WHO=you", "--", "sh", "-c", "echo hello $WHO")
    assert done.stdout == "hello you\n"
    assert "Exit code: 0." in done.stderr


def test_the_results_of_a_command_are_published_and_fetched_in_one_go(running: Stack) -> None:
    script = "date > outputs/now"
    done = running.cli("exec", "--id-only", "--get", "-p", "s3managed", "-o", "outputs:/outputs", "sh", "-c", script)
    assert (running.root / f"job-{done.stdout.split()[0]}" / "outputs" / "now").exists()


def test_what_a_dry_run_prints_is_what_job_run_accepts(running: Stack) -> None:
    flags = ("--name", "from-flags", "-l", "team=a", "-e", "EMPTY=", "--cpu", "0.1")
    printed = running.cli("exec", "--dry-run", *flags, "--", "sh", "-c", "echo one\necho two").stdout
    job_id = running.cli("job", "run", "--id-only", "-", stdin=printed).stdout.strip()
    assert running.cli("job", "logs", job_id).stdout == "one\ntwo\n"
    listed = json.loads(running.cli("job", "list", "--labels", "team=a", "--output", "json").stdout)
    assert [each["ID"] for each in listed] == [job_id]


def test_a_job_is_deleted_when_it_has_ended_and_its_result_stays_unless_that_may_go_too(running: Stack) -> None:
    job_id = running.submit(process_job("sleep 60"))
    running.wait_state(job_id, "Running")
    refused = running.cli("job", "delete", job_id, check=False)
    assert refused.returncode == 1
    assert "[JobStillRuns]" in refused.stderr
    assert running.cli("job", "delete", "--force", job_id).stdout == f"Deleted {job_id}.\n"
    gone = running.cli("job", "describe", job_id, check=False)
    assert "[JobNotFound]" in gone.stderr
    assert "Orchestrator.JobRetention.MaxAge" in gone.stderr

    published = running.submit(process_job("echo hello"))
    running.wait_ended(published)
    denied = running.cli("job", "delete", "--results", published, check=False)
    assert "[DeletionRefused]" in denied.stderr
    assert "s3:DeleteObject" in denied.stderr
    assert running.state(published) == "Completed"
    deleted = json.loads(running.cli("job", "delete", published, "--output", "json").stdout)
    assert deleted == [{"JobID": published, "Deleted": True}]
    assert any(published in key for key in running.objects())


def test_uploads_that_could_not_be_aborted_are_listed(running: Stack) -> None:
    assert json.loads(running.cli("agent", "uploads", "--output", "json").stdout) == []
    assert running.cli("agent", "uploads").stdout.split() == ["JOB", "BUCKET", "KEY", "UPLOAD"]


def test_all_that_a_task_wrote_comes_out_of_its_result(running: Stack, long_winded: str) -> None:
    done = running.cli("job", "logs", long_winded)
    lines = "".join(f"{number}\n" for number in range(1, MANY_LINES + 1))
    assert done.stdout == f"{lines}\x1b[2Jend", "a pipe gets the bytes as they are"
    assert done.stderr == "to stderr\n"
    assert not list(running.root.glob(f"job-{long_winded}*"))


def test_logs_that_nobody_reads_any_more_are_no_error(running: Stack, long_winded: str) -> None:
    command = f"{sys.executable} -m tarpon job logs {long_winded} --api-port {running.api_port} | head -n 1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "1\n"
    assert "Error" not in done.stderr


def test_the_last_lines_can_be_had_alone(running: Stack, long_winded: str) -> None:
    (execution,) = json.loads(running.cli("job", "executions", long_winded, "--output", "json").stdout)
    done = running.cli("job", "logs", long_winded, "--tail", "2", "--execution-id", execution["ID"][:12])
    assert done.stdout == f"{MANY_LINES}\n\x1b[2Jend"


def test_an_execution_that_the_job_does_not_have_is_named(running: Stack, long_winded: str) -> None:
    done = running.cli("job", "logs", long_winded, "-e", "e-0000", check=False)
    assert done.returncode == 1
    assert "has no execution 'e-0000'" in done.stderr


def test_every_part_of_a_job_has_its_own_logs(running: Stack) -> None:
    job_id = running.submit(process_job("echo part $TARPON_PARTITION_INDEX") | {"Count": 2})
    done = running.cli("job", "logs", "--follow", job_id)
    assert done.stdout == "part 0\npart 1\n"
    assert done.stderr.count("==> e-") == 2


def test_the_logs_of_one_part_can_be_had_alone(running: Stack) -> None:
    job_id = running.submit(process_job("echo part $TARPON_PARTITION_INDEX") | {"Count": 3})
    running.wait_ended(job_id)
    assert running.cli("job", "logs", "--partition", "1", job_id).stdout == "part 1\n"
    done = running.cli("job", "logs", "--partition", "7", job_id, check=False)
    assert done.returncode == 1
    assert f"Job {job_id} has no logs of partition 7. [NotFound]" in done.stderr
    assert "There are: 0 (e-" in done.stderr


def test_the_logs_of_one_part_are_followed_when_its_turn_comes(running: Stack, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    script = f"while [ ! -e {gate} ]; do sleep 0.1; done; echo part $TARPON_PARTITION_INDEX"
    job_id = running.submit(process_job(script) | {"Count": 2, "MaxParallel": 1})
    running.wait_state(job_id, "Running")
    with (tmp_path / "out").open("w") as out, (tmp_path / "err").open("w") as err:
        command = [sys.executable, "-m", "tarpon", "job", "logs", "--follow", "--partition", "1", job_id]
        environment = {"TARPON_API_HOST": HOST, "TARPON_API_PORT": str(running.api_port)}
        process = subprocess.Popen(command, env=environment, stdout=out, stderr=err)
    wait_until(lambda: "its logs follow" in (tmp_path / "err").read_text(), within=20, what="it waits for the part")
    gate.touch()
    assert process.wait(60) == 0
    assert (tmp_path / "out").read_text() == "part 1\n"


def test_a_sweep_is_described_shortly_and_told_whole_to_programs(running: Stack) -> None:
    job_id = running.submit(process_job("echo hello") | {"Count": 30})
    running.wait_ended(job_id)
    text = running.cli("job", "describe", job_id).stdout
    assert "30 in all: 30 Completed" in text
    assert text.count("hello") == 5
    told = json.loads(running.cli("job", "describe", job_id, "--output", "json").stdout)
    assert len(told["Executions"]["Items"]) == 30
    why = running.cli("job", "why", job_id).stdout.splitlines()
    assert why == [f"Job {job_id}, version 1: Completed", "30 parts: 30 completed"]


@pytest.mark.parametrize("option", [("--label", "a b"), ("--name", "x" * 300), ("--next-token", "of another list")])
def test_what_the_orchestrator_finds_wrong_with_a_request_is_wrong_usage(
    running: Stack, option: tuple[str, str]
) -> None:
    done = running.cli("job", "list", *option, check=False)
    assert done.returncode == 2
    assert "[InvalidInput]" in done.stderr


def test_logs_of_a_job_whose_tasks_do_not_run_yet_are_refused_in_words(running: Stack) -> None:
    job = process_job("true", Timeouts={"QueueTimeout": 60}) | {"Constraints": [{"Key": "gpu", "Operator": "exists"}]}
    job_id = running.submit(job)
    running.wait_state(job_id, "Queued")
    described = running.cli("job", "describe", job_id).stdout
    assert f"`tarpon job why {job_id}` tells more" in described
    done = running.cli("job", "logs", job_id, check=False)
    running.cli("job", "stop", job_id)
    assert done.returncode == 1
    assert "no task of it runs yet" in done.stderr
    assert "--follow" in done.stderr


def test_a_wait_may_be_limited_and_the_job_goes_on(running: Stack, tmp_path: Path) -> None:
    path = written(tmp_path, process_job("sleep 60"))
    done = running.cli("job", "run", "--id-only", "--wait-timeout-secs", "0.2", path, check=False)
    assert done.returncode == 1
    assert "has not ended within 0.2 s; it goes on" in done.stderr
    running.cli("job", "stop", "--quiet", done.stdout.strip())


def test_each_submit_of_a_changed_job_is_a_version(running: Stack, tmp_path: Path) -> None:
    for word in ("first", "second"):
        text = yaml.safe_dump(process_job("echo {{.Word}}") | {"Name": "versioned"})
        (tmp_path / "job.yaml").write_text(text)
        running.cli("job", "run", "-V", f"Word={word}", str(tmp_path / "job.yaml"))
    found = json.loads(running.cli("job", "versions", "versioned", "--output", "json").stdout)
    scripts = [each["Tasks"][0]["Engine"]["Params"]["Entrypoint"][-1] for each in found]
    assert [each["Version"] for each in found] == [1, 2]
    assert scripts == ["echo first", "echo second"]
    table = running.cli("job", "versions", "versioned").stdout.splitlines()
    assert table[0].split() == ["VERSION", "CREATED", "MODIFIED", "ENGINE", "COUNT", "STATE", "EXIT"]
    assert running.cli("job", "logs", "versioned").stdout == "second\n"


def test_what_an_earlier_version_lacks_is_not_told_of_the_job(running: Stack, tmp_path: Path) -> None:
    for command in ("true", "/nowhere", "true"):
        engine = {"Type": "process", "Params": {"Entrypoint": [command]}}
        path = written(tmp_path, process_job("", Engine=engine) | {"Name": "mended"})
        running.cli("job", "run", "--force", "--exit-zero", path)
    done = running.cli("job", "cat", "mended", "--job-version", "2", "stdout", check=False)
    assert "Error: Version 2 of job mended is Failed and has no results. [NoResults]" in done.stderr
    items = running.api("/orchestrator/jobs/mended/executions?job_version=2")["Items"]
    done = running.cli("job", "logs", "mended", "-e", items[0]["ID"], check=False)
    assert f"Error: Execution {items[0]['ID']} is Failed and has left no logs. [NoResults]" in done.stderr


def test_jobs_of_all_namespaces_are_listed_with_theirs(running: Stack) -> None:
    job_id = running.submit(process_job("true") | {"Namespace": "elsewhere"})
    running.wait_ended(job_id)
    listed = running.cli("job", "list", "--all-namespaces", "--limit", "1").stdout.splitlines()
    assert listed[0].split()[6] == "NAMESPACE"
    assert "elsewhere" in listed[1]
    assert job_id[:10] not in running.cli("job", "list").stdout


def test_the_line_that_starts_a_node_has_the_address_of_the_running_orchestrator(running: Stack) -> None:
    file = running.root / "secrets" / "join"
    file.parent.mkdir()
    file.touch(mode=0o600)
    file.write_text(running.secret)
    own = ("-c", f"DataDir={running.root / 'orchestrator'}", "-c", "Orchestrator.Port=4299")
    done = running.cli("node", "token", "show", *own, "-c", f"Orchestrator.Auth.TokenFile={file}")
    assert f" Compute.Orchestrators=nats://{HOST}:{running.nats_port}" in done.stdout
    assert done.stderr == ""


def test_the_join_secret_goes_to_no_address_that_is_told_by_whoever_has_the_port(running: Stack) -> None:
    """The orchestrator whose secrets are here is down; another program answers in its place."""
    data = running.root / "down"
    secrets = data / "orchestrator" / "secrets"
    load_secrets(SecretSources(directory=secrets))
    (secrets / "join.secret").touch(mode=0o600)
    (secrets / "join.secret").write_text("of-an-earlier-version")
    told = {"Host": HOST, "Port": 4222, "Advertise": "elsewhere.example:4222", "NATS": {"Servers": []}}
    with answering({"config": {"DataDir": str(data), "Orchestrator": told}}) as port:
        settings = ("-c", f"DataDir={data}", "-c", "Orchestrator.Port=4299", "-c", f"Orchestrator.Host={HOST}")
        done = running.cli("node", "token", "show", *settings, "--api-port", str(port))
    assert done.stdout.rstrip().endswith(f"nats://{HOST}:4299")
    assert f"No orchestrator is known to run with {data}" in done.stderr


@contextmanager
def answering(body: Any) -> Iterator[int]:
    """The port of a program that answers this to whatever it is asked."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = json.dumps(body).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer((HOST, 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def test_commands_turn_to_the_next_of_several_orchestrators(running: Stack) -> None:
    (free,) = free_ports(1)
    several = f"{HOST}:{free},{HOST}:{running.api_port}"
    assert "node-a" in running.cli("node", "list", "--api-host", several, "--output", "json").stdout
    done = running.cli("exec", "-f", "--api-host", several, "--", "echo", "hello")
    assert done.stdout == "hello\n"


def test_the_orchestrator_may_be_named_by_its_url(running: Stack) -> None:
    url = f"http://127.0.0.1:{running.api_port}/"
    done = running.cli("agent", "alive", "--api-host", url, "--output", "json")
    assert json.loads(done.stdout) == {"Status": "OK"}


def test_the_page_opens_at_a_job_and_its_secret_is_in_no_command_line(running: Stack, tmp_path: Path) -> None:
    job_id = running.submit(process_job("true"))
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/told\n')
    browser.chmod(0o755)
    opened = running.cli("job", "open", job_id, more={"BROWSER": f"{browser} %s"})
    assert f"Opened job {job_id}" in opened.stderr
    url = (tmp_path / "told").read_text().strip()
    page = Path(unquote(urlsplit(url).path))
    assert page.stat().st_mode & 0o777 == 0o600
    link = re.search(r"url=(http[^\"]*)#/sign-in\?link=([\w-]+)&amp;to=jobs%2F(j-[\w-]+)", page.read_text())
    assert link is not None
    assert (link[2] in url, link[3]) == (False, job_id)
    printed = running.cli("job", "open", job_id, "--print")
    assert printed.stdout.startswith(f"{link[1]}#/sign-in?link=")
    assert json.loads(running.cli("job", "open", "--output", "json").stdout)["JobID"] == ""
