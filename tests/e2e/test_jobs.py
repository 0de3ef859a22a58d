"""One job from its file to its files, as a user runs it."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.e2e.stack import Stack, process_job, wait_until

OPEN = {"Constraints": [{"Key": "walls", "Operator": "=", "Values": ["none"]}]}
"""For tasks that tell something to their test by a file of the machine."""


@pytest.fixture
def with_open_node(running: Stack) -> Iterator[Stack]:
    running.start_compute("open", Labels="walls=none", Engines_Types_Process_Sandbox="off")
    yield running
    running.computes.pop("open").stop()


def _job_file(stack: Stack, name: str, job: object) -> Path:
    path = stack.root / f"{name}.yaml"
    path.write_text(yaml.safe_dump(job))
    return path


def test_a_jobs_output_is_fetched_from_the_bucket(running: Stack) -> None:
    job = process_job("echo hello; mkdir -p outputs; echo data > outputs/file") | {"Name": "fetch-me"}
    job["Tasks"][0]["ResultPaths"] = [{"Name": "outputs", "Path": "/outputs"}]
    done = running.cli("job", "run", "--id-only", str(_job_file(running, "fetch", job)))
    job_id = done.stdout.strip()
    running.cli("job", "get", job_id)
    folder = running.root / f"job-{job_id}"
    assert (folder / "stdout").read_text() == "hello\n"
    assert (folder / "exitCode").read_text() == "0"
    assert (folder / "outputs" / "file").read_text() == "data\n"


def test_job_run_shows_what_happens_and_how_it_ended(running: Stack) -> None:
    done = running.cli("job", "run", str(_job_file(running, "progress", process_job("echo hello"))))
    assert "Running on node" in done.stderr + done.stdout
    assert "published and verified" in done.stderr + done.stdout


def test_a_task_that_exits_non_zero_completes_and_its_output_is_there(running: Stack) -> None:
    job_id = running.submit(process_job("echo partial; exit 3"))
    described = running.wait_ended(job_id)
    assert described["Job"]["State"]["StateType"] == "Completed"
    (execution,) = described["Executions"]["Items"]
    assert execution["RunOutput"]["ExitCode"] == 3
    assert execution["RunOutput"]["Stdout"] == "partial\n"


def test_what_a_task_left_that_its_job_takes_for_failed_is_had(running: Stack) -> None:
    job = process_job("echo partial; mkdir -p outputs; echo core > outputs/dump; exit 3") | {"Name": "fails"}
    job["Tasks"][0] |= {
        "FailOnExitCode": True,
        "Retries": {"Max": 1, "OnExitCodes": [3], "BackOff": "0s"},
        "ResultPaths": [{"Name": "outputs", "Path": "/outputs"}],
    }
    done = running.cli("job", "run", "--get", str(_job_file(running, "fails", job)), check=False)
    assert done.returncode == 1
    assert "The task ended with exit code 3. (the last of 2 attempts)" in done.stderr
    assert (
        "The task of 1 part has failed, and this is what there was of its result: part 0 by exit code 3." in done.stderr
    )
    folder = running.root / "job-fails"
    assert (folder / "outputs" / "dump").read_text() == "core\n"
    assert (folder / "exitCode").read_text() == "3"
    assert running.cli("job", "logs", "fails").stdout == "partial\n"


def test_what_has_not_completed_of_a_sweep_is_run_again_and_its_results_are_whole(running: Stack) -> None:
    mended = running.root / "mended"
    job = process_job(
        f"echo part $TARPON_PARTITION_INDEX; [ $TARPON_PARTITION_INDEX != 1 ] || [ -e {mended} ] || exit 3"
    )
    job |= {"Name": "sweep", "Count": 3, "MaxParallel": 1}
    job["Tasks"][0]["FailOnExitCode"] = True
    failed = running.cli("job", "run", str(_job_file(running, "sweep", job)), check=False)
    assert failed.returncode == 1
    for told in (failed, running.cli("job", "watch", "sweep", check=False)):
        error = told.stderr.partition("Error: ")[2]
        assert "failed: The task ended with exit code 3. [JobFailed]" in error
        assert "parts: 1 of 3 failed, 1 completed, 1 was stopped or never begun" in error
        assert "part 1: exit code 3 (node node-a, execution e-" in error
        assert "shows what part 1 wrote" in error
        assert " --failed` runs again what has not completed" in error
    (first := running.root / "first").mkdir()
    got = running.cli("job", "get", "sweep", "--strict", "--output-dir", str(first), check=False)
    assert got.returncode == 6
    assert "1 of 3 parts has no result, for it has not completed: part 2." in got.stderr
    mended.touch()
    done = running.cli("job", "rerun", "sweep", "--failed", "--follow", "--get", "--reason", "mended now")
    assert "part 1" in done.stdout
    assert "part 0" not in done.stdout, "which is not run again"
    assert any("runs again as version 2." in line for line in done.stderr.splitlines())
    stdouts = sorted(path.read_text() for path in (running.root / "job-sweep").glob("*/stdout"))
    assert stdouts == ["part 0\n", "part 1\n", "part 2\n"]
    again = running.cli("job", "rerun", "sweep", "--failed", check=False)
    assert again.returncode == 1
    assert "All parts of version 2" in again.stderr
    whole = json.loads(running.cli("job", "rerun", "sweep", "--output", "json", "--version", "1").stdout)
    assert whole["JobVersion"] == 3
    assert sorted(each["JobVersion"] for each in whole["Executions"]) == [3, 3, 3]


def test_every_partition_runs_once_and_knows_its_number(running: Stack) -> None:
    job = process_job("echo $TARPON_PARTITION_INDEX of $BACALHAU_PARTITION_COUNT") | {"Count": 3}
    described = running.wait_ended(running.submit(job))
    outputs = {each["RunOutput"]["Stdout"] for each in described["Executions"]["Items"]}
    assert outputs == {"0 of 3\n", "1 of 3\n", "2 of 3\n"}


def test_describe_has_job_executions_and_history(running: Stack) -> None:
    job_id = running.submit(process_job("true"))
    running.wait_ended(job_id)
    described = json.loads(running.cli("job", "describe", job_id, "--output", "json").stdout)
    assert described["Job"]["State"]["StateType"] == "Completed"
    assert described["Executions"]["Items"][0]["PublishedResult"]["Type"] == "s3managed"
    topics = [item["Event"]["Topic"] for item in described["History"]["Items"]]
    assert topics[0] == "Submission"
    assert topics[-1] == "State Update"


def test_a_job_that_no_node_can_run_fails_with_the_reasons(running: Stack) -> None:
    job = process_job("true")
    job["Tasks"][0]["Engine"]["Type"] = "vroomvroom"
    described = running.wait_ended(running.submit(job))
    message = described["Job"]["State"]["Message"]
    assert described["Job"]["State"]["StateType"] == "Failed"
    assert "not enough nodes to run job" in message
    assert "Node node-a: does not support vroomvroom" in message


def test_a_failed_job_makes_job_run_exit_with_1_and_names_the_reason(running: Stack) -> None:
    job = process_job("true")
    job["Tasks"][0]["Engine"]["Params"] = {"Entrypoint": ["no-such-program"]}
    done = running.cli("job", "run", str(_job_file(running, "failing", job)), check=False)
    assert done.returncode == 1
    assert "no-such-program" in done.stderr


def test_a_task_over_its_time_limit_is_stopped_and_the_job_fails(running: Stack) -> None:
    job = process_job("sleep 300", Timeouts={"ExecutionTimeout": 1})
    described = running.wait_ended(running.submit(job))
    assert described["Job"]["State"]["StateType"] == "Failed"
    assert "time limit of 1 s" in described["Job"]["State"]["Message"]


def test_a_job_over_its_total_time_limit_fails_and_its_task_is_stopped(with_open_node: Stack) -> None:
    running = with_open_node
    marker = running.root / "timed-out-marker"
    script = f"trap 'echo > {marker}; exit 0' TERM; while :; do sleep 0.05; done"
    job = process_job(script, Timeouts={"TotalTimeout": 1}) | OPEN
    described = running.wait_ended(running.submit(job))
    assert described["Job"]["State"]["StateType"] == "Failed"
    assert "time" in described["Job"]["State"]["Message"]
    wait_until(marker.exists, within=10, what="the task was asked to end")


def test_a_job_waits_for_a_node_as_long_as_its_queue_time_out(running: Stack) -> None:
    job = process_job("true", Timeouts={"QueueTimeout": 2}) | {"Constraints": [{"Key": "gpu", "Operator": "exists"}]}
    job_id = running.submit(job)
    running.wait_state(job_id, "Queued")
    described = running.wait_ended(job_id)
    assert "queue time-out of 2 s" in described["Job"]["State"]["Message"]
    assert "do not fulfil gpu exists" in described["Job"]["State"]["Message"]


def test_a_stopped_job_stops_its_task(with_open_node: Stack) -> None:
    running = with_open_node
    marker = running.root / "stopped-marker"
    script = f"trap 'echo $$ > {marker}; exit 0' TERM; while :; do sleep 0.05; done"
    job_id = running.submit(process_job(script) | OPEN)
    running.wait_state(job_id, "Running")
    running.cli("job", "stop", job_id)
    assert running.state(job_id) == "Stopped"
    wait_until(marker.exists, within=10, what="the task was asked to end")


def test_a_result_over_the_limit_of_its_node_fails_with_the_limit(running: Stack) -> None:
    running.start_compute("narrow", Labels="size=narrow", Publishers_Archive_SizeLimit="20MB")
    job = process_job("mkdir outputs; head -c 40000000 /dev/urandom > outputs/noise")
    job["Tasks"][0]["ResultPaths"] = [{"Name": "outputs", "Path": "/outputs"}]
    job["Constraints"] = [{"Key": "size", "Operator": "=", "Values": ["narrow"]}]
    described = running.wait_ended(running.submit(job))
    running.computes.pop("narrow").stop()
    assert described["Job"]["State"]["StateType"] == "Failed"
    assert "this node's limit of 19.1 MiB" in described["Job"]["State"]["Message"]


def test_a_job_without_publisher_completes_with_its_output_in_the_record(running: Stack) -> None:
    job = process_job("echo only here")
    del job["Tasks"][0]["Publisher"]
    described = running.wait_ended(running.submit(job))
    assert described["Job"]["State"]["StateType"] == "Completed"
    assert described["Executions"]["Items"][0]["RunOutput"]["Stdout"] == "only here\n"


def test_the_same_job_under_the_same_name_is_refused_and_a_changed_one_is_a_new_version(running: Stack) -> None:
    first = process_job("echo one") | {"Name": "versions"}
    job_id = running.submit(first)
    running.wait_ended(job_id)
    again = running.cli("job", "run", str(_job_file(running, "again", first)), check=False)
    assert again.returncode == 1
    assert "--force" in again.stderr
    assert running.submit(process_job("echo two") | {"Name": "versions"}) == job_id
    described = running.wait_ended(job_id)
    assert described["Job"]["Version"] == 2
    newest = [each for each in described["Executions"]["Items"] if each["JobVersion"] == 2]
    assert [each["RunOutput"]["Stdout"] for each in newest] == ["two\n"]


def test_no_credential_is_in_a_tasks_environment_or_workspace(running: Stack) -> None:
    job_id = running.submit(
        process_job("env; ls -laR .. ; cat ../*.json 2>/dev/null; cat ../../*/journal* 2>/dev/null")
    )
    described = running.wait_ended(job_id)
    running.cli("job", "get", job_id)
    written = (running.root / f"job-{job_id}" / "stdout").read_text()
    assert "TARPON_EXECUTION_ID=" in written
    for secret in running.secrets():
        assert secret not in written
    assert described["Job"]["State"]["StateType"] == "Completed"


@pytest.mark.parametrize("output", ["table", "json", "yaml"])
def test_jobs_and_nodes_are_listed_in_every_form(running: Stack, output: str) -> None:
    job_id = running.submit(process_job("true"))
    running.wait_ended(job_id)
    assert job_id[:10] in running.cli("job", "list", "--output", output).stdout
    assert "node-a" in running.cli("node", "list", "--output", output).stdout


def test_the_logs_of_a_running_task_are_followed_until_it_ends(running: Stack) -> None:
    go_on = running.root / "go-on"
    script = f"echo first; echo problem >&2; while [ ! -e {go_on} ]; do sleep 0.05; done; echo last"
    job_id = running.submit(process_job(script))
    running.wait_state(job_id, "Running")
    so_far = running.cli("job", "logs", job_id)
    assert (so_far.stdout, so_far.stderr) == ("first\n", "problem\n")
    go_on.touch()
    assert running.cli("job", "logs", "--follow", job_id).stdout.endswith("last\n")
    running.wait_ended(job_id)
    assert running.cli("job", "logs", job_id).stdout == "first\nlast\n"


def test_tasks_that_run_at_once_have_gpus_of_their_own(running: Stack) -> None:
    """No GPU is here: the node is told that it has two."""
    running.start_compute("node-gpus", Engines_Types_Process_Enabled="true", Compute_AllocatedCapacity_GPU="2")
    script = "echo $CUDA_VISIBLE_DEVICES; until [ -e {go} ]; do sleep 0.05; done".format(go=running.root / "go")
    jobs = [running.submit(process_job(script, Resources={"CPU": "0.1", "GPU": "1"})) for _ in range(3)]
    wait_until(lambda: [running.state(job) for job in jobs].count("Running") == 2, within=20, what="two of them run")
    (running.root / "go").touch()
    ended = [running.wait_ended(job)["Executions"]["Items"][-1] for job in jobs]
    assert [each["NodeID"] for each in ended] == ["node-gpus"] * 3
    said = [each["RunOutput"]["Stdout"].strip() for each in ended]
    assert sorted(set(said)) == ["0", "1"]
