"""Data from the command line to the bucket and back, with real processes."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import urllib.error
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.stack import Stack, _plain_environment, process_job, wait_until
from tests.servers import HOST


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "sub").mkdir(parents=True)
    (root / "a.txt").write_text("hello\n")
    (root / "sub" / "run.sh").write_text("#!/bin/sh\necho ran\n")
    (root / "sub" / "run.sh").chmod(0o755)
    return root


def put(stack: Stack, *arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(stack.cli("data", "put", *arguments, "--output", "json").stdout)
    return found


def contents(stack: Stack) -> int:
    """How many objects there are of sent data."""
    pages = stack.s3.client().get_paginator("list_objects_v2").paginate(Bucket=stack.bucket)
    return sum("/inputs/" in each["Key"] for page in pages for each in page.get("Contents", []))


def refused(stack: Stack, *arguments: str) -> str:
    done = stack.cli(*arguments, check=False)
    assert done.returncode in {1, 2}, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def test_data_is_put_listed_fetched_and_deleted(running: Stack, tree: Path, tmp_path: Path) -> None:
    told = running.cli("data", "put", str(tree), "--name", "train-1").stdout
    assert told.startswith("Sent 2 of 2 files, ")
    assert " in all with the list of them. It is train-1, sha256:" in told
    again = running.cli("data", "put", str(tree), "--name", "train-1").stdout
    assert again.startswith("Sent 0 of 2 files, 0 B in all.")
    listed = running.cli("data", "list").stdout
    assert "train-1" in listed
    assert "of 931.3 GiB are taken." in listed
    target = tmp_path / "back"
    told = running.cli("data", "get", "train-1", "--output-dir", str(target)).stdout
    assert told == f"Fetched 2 files to {target}.\n"
    assert (target / "a.txt").read_text() == "hello\n"
    assert os.access(target / "sub" / "run.sh", os.X_OK)
    assert running.cli("data", "delete", "train-1").stdout == "Data train-1 is deleted.\n"
    assert "DataNotFound" in refused(running, "data", "get", "train-1")


def test_a_put_that_was_killed_goes_on_where_it_was(running: Stack, tmp_path: Path) -> None:
    root, chance = tmp_path / "many", random.Random(3)
    root.mkdir()
    for number in range(800):
        (root / str(number)).write_bytes(chance.randbytes(2000))
    before = contents(running)
    environment = _plain_environment() | {"TARPON_API_PORT": str(running.api_port), "TARPON_API_HOST": HOST}
    environment |= {"TARPON_API_KEY": running.key} if running.key else {}
    command = [sys.executable, "-m", "tarpon", "data", "put", str(root), "--name", "many"]
    with subprocess.Popen(
        command, env=environment, cwd=running.root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as sending:
        wait_until(lambda: contents(running) > before + 30, within=60, what="some of it is there")
        sending.send_signal(signal.SIGKILL)
    assert "not been sent to its end" in refused(running, "data", "get", "many")
    there = contents(running) - before
    rest = put(running, str(root), "--name", "many")
    assert 0 < rest["SentFiles"] <= 800 - there + 1
    assert rest["Data"]["Ready"]


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda root: (root / "a.txt").unlink() or (root / "sub" / "run.sh").unlink(), "NothingToSend"),
        (lambda root: os.mkfifo(root / "fifo"), "'fifo' is neither a file, a folder nor a link"),
        (lambda root: (root / "out").symlink_to("/etc/hostname"), "'out' is a link that leads out of the tree"),
    ],
    ids=["empty", "fifo", "link"],
)
def test_what_cannot_be_sent_is_told(running: Stack, tree: Path, make: Any, told: str) -> None:
    make(tree)
    assert told in refused(running, "data", "put", str(tree))


def test_what_is_special_can_be_left_out(running: Stack, tree: Path) -> None:
    (tree / "out").symlink_to("/etc/hostname")
    done = running.cli("data", "put", str(tree), "--skip-special")
    assert "Warning: 'out' is a link that leads out of the tree, and was left out." in done.stderr


def test_names_and_namespaces_that_there_are_not_are_told(running: Stack, tree: Path) -> None:
    assert "DataNameInvalid" in refused(running, "data", "put", str(tree), "--name", "a/b")
    assert "PathNotFound" in refused(running, "data", "put", str(tree / "none"))
    put(running, str(tree), "--name", "here")
    missing = refused(running, "data", "get", "here", "--namespace", "other")
    assert "Namespace other has no data 'here'." in missing
    assert "Did you mean 'here'?" in refused(running, "data", "delete", "her")


# ---- jobs that read it ----------------------------------------------------------------------------------------------


def reading(data: str, script: str, count: int = 1, **params: Any) -> dict[str, Any]:
    source = {"Source": {"Type": "upload", "Params": {"Data": data} | params}, "Target": "/data"}
    return process_job(script, InputSources=[source]) | {"Count": count}


def test_a_tree_of_this_machine_is_sent_and_read_by_a_task(running: Stack, tree: Path) -> None:
    script = "cat data/a.txt; data/sub/run.sh"
    done = running.cli("exec", "--follow", "-i", f"{tree}:/data", "--", "sh", "-c", script)
    assert done.stdout == "hello\nran\n"
    assert f"Input {tree} for /data: " in done.stderr
    (tree.parent / "job.json").write_text(json.dumps(process_job(script)))
    again = running.cli("job", "run", str(tree.parent / "job.json"), "--follow", "--input", f"{tree}:/data")
    assert again.stdout == "hello\nran\n"
    assert f"Input {tree} for /data: it was there already." in again.stderr
    file = running.cli("exec", "--follow", "-i", f"{tree / 'a.txt'}:/in/b.txt", "--", "cat", "in/b.txt")
    assert file.stdout == "hello\n"


def test_what_would_be_sent_is_told_without_sending_it(running: Stack, tree: Path) -> None:
    before = contents(running)
    (tree / "new").write_text(str(tree))
    done = running.cli("exec", "--dry-run", "-i", f"{tree}:/data", "--", "true")
    assert "Type: upload" in done.stdout
    assert contents(running) == before
    assert put(running, str(tree))["Data"]["Digest"] in done.stdout


def test_the_parts_of_a_job_read_their_shares_of_sent_data(running: Stack, tmp_path: Path) -> None:
    root = tmp_path / "many"
    root.mkdir()
    for number in range(40):  # more than a record holds
        (root / f"f{number}").write_text(f"{number}\n")
    put(running, str(root), "--name", "forty")
    wanted = reading("forty", "cat data/*", count=3, Partition={"Type": "object"})
    ended = running.wait_ended(running.submit(wanted))
    shares = [each["RunOutput"]["Stdout"].split() for each in ended["Executions"]["Items"]]
    assert sorted(int(each) for share in shares for each in share) == list(range(40))
    assert len(shares) == 3
    assert all(len(share) < 40 for share in shares)


def test_a_job_keeps_what_it_was_submitted_with(running: Stack, tree: Path) -> None:
    first = put(running, str(tree), "--name", "moves")["Data"]["Digest"]
    job = running.submit(reading("moves", "cat data/a.txt"))
    (tree / "a.txt").write_text("newer\n")
    put(running, str(tree), "--name", "moves")
    assert running.wait_ended(job)["Executions"]["Items"][0]["RunOutput"]["Stdout"] == "hello\n"
    for data, told in (("moves", "newer\n"), (first, "hello\n"), (first.removeprefix("sha256:")[:12], "hello\n")):
        ended = running.wait_ended(running.submit(reading(data, "cat data/a.txt")))
        assert ended["Executions"]["Items"][0]["RunOutput"]["Stdout"] == told


def test_data_that_there_is_not_is_told_at_submit(running: Stack, tree: Path) -> None:
    put(running, str(tree), "--name", "of-default")
    for wanted in (reading("of-defalt", "true"), reading("of-default", "true") | {"Namespace": "other"}):
        with pytest.raises(urllib.error.HTTPError) as caught:
            running.submit(wanted)
        with caught.value as answer:
            told = json.load(answer)
        assert (answer.code, told["Code"]) == (400, "InputNotFound")
        assert "there is none of that name" in told["Message"]


def test_other_bytes_in_the_bucket_are_damage_and_reach_no_task(running: Stack, tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(b"right weights")
    put(running, str(tmp_path / "weights"), "--name", "weights")
    key = f"results/inputs/default/{hashlib.sha256(b'right weights').hexdigest()}"
    running.s3.client().put_object(Bucket=running.bucket, Key=key, Body=b"wrong weights")
    ended = running.wait_ended(running.submit(reading("weights", "cat data")))
    assert ended["Job"]["State"]["StateType"] == "Failed"
    assert all("wrong" not in each["RunOutput"]["Stdout"] for each in ended["Executions"]["Items"] if each["RunOutput"])
    codes = {
        item["Event"]["Details"].get("ErrorCode") for item in ended["History"]["Items"] if item["Event"].get("Details")
    }
    assert "InputDamaged" in codes
