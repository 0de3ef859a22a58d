"""Data from the command line to the bucket and back, with real processes."""

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.stack import Stack, _plain_environment, wait_until
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
    assert "It is train-1, sha256:" in told
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
    for number in range(1500):
        (root / str(number)).write_bytes(chance.randbytes(20_000))
    before = contents(running)
    environment = _plain_environment() | {"TARPON_API_PORT": str(running.api_port), "TARPON_API_HOST": HOST}
    environment |= {"TARPON_API_KEY": running.key} if running.key else {}
    command = [sys.executable, "-m", "tarpon", "data", "put", str(root), "--name", "many"]
    with subprocess.Popen(
        command, env=environment, cwd=running.root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as sending:
        wait_until(lambda: contents(running) > before + 200, within=60, what="some of it is there")
        sending.send_signal(signal.SIGKILL)
    assert "not been sent to its end" in refused(running, "data", "get", "many")
    there = contents(running) - before
    rest = put(running, str(root), "--name", "many")
    assert 0 < rest["SentFiles"] <= 1500 - there + 1
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
