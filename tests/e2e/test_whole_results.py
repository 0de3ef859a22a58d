"""A result with all that results have been seen to have, fetched onto file systems that can and cannot have it."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.archives import tree
from tests.e2e.conftest import ended
from tests.e2e.stack import NO_SANDBOX, Stack, process_job
from tests.file_systems import mounted
from tests.memory import MIB
from tests.servers import S3Server

MAKE = r"""
set -eu
mkdir -p outputs && cd outputs
python3 -m venv --without-pip venv
mkdir -p node_modules/.bin node_modules/tool
echo '#!/bin/sh' > node_modules/tool/cli.js && chmod 755 node_modules/tool/cli.js
ln -s ../tool/cli.js node_modules/.bin/tool
printf data > image && truncate -s 6G image && printf end >> image
echo composed > "$(printf '\303\251')" && echo decomposed > "$(printf 'e\314\201')"
echo upper > README && echo mixed > Readme && mkdir Docs docs && echo 1 > Docs/a && echo 2 > docs/A
echo colon > 12:30.log
ln README node_modules/linked
ln -s /nowhere/at/all broken && ln -s ../../up leads-up
echo listed > listed && mkdir shared && python3 -c '
import os, struct
NOBODY = 2**32 - 1
entries = [(1, 6, NOBODY), (2, 6, 4242), (4, 4, NOBODY), (16, 6, NOBODY), (32, 4, NOBODY)]
acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
os.setxattr("listed", "system.posix_acl_access", acl)
os.setxattr("shared", "system.posix_acl_default", acl)
os.setxattr("listed", "user.note", b"kept")
'
"""
JOB = process_job(MAKE, ResultPaths=[{"Name": "outputs", "Path": "/outputs"}])


@pytest.fixture(scope="module")
def running(s3_server: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Its tasks may do all that the tests do, such as name other users in access lists, which none in a sandbox can."""
    made = Stack(tmp_path_factory.mktemp("whole"), s3_server)
    made.start_orchestrator()
    made.start_compute("node-a", Engines_Types_Process_Sandbox=NO_SANDBOX)
    yield made
    ended(made)


@pytest.fixture(scope="module")
def job(running: Stack) -> str:
    job_id = running.submit(JOB)
    assert running.wait_ended(job_id)["Job"]["State"]["StateType"] == "Completed"
    return job_id


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[object, ...]]:
    """The tree that the task made, made once more."""
    folder = tmp_path_factory.mktemp("expected")
    subprocess.run(["sh", "-c", MAKE], cwd=folder, check=True)
    return comparable(folder / "outputs")


def comparable(outputs: Path) -> dict[str, tuple[object, ...]]:
    """Without times, and without the content of files in which the folder's own name stands, or that is too large.

    With extended attributes, which `tree` leaves out.
    """
    attributes = {
        f"attributes of {name}": tuple(sorted((each, os.getxattr(outputs / name, each)) for each in names))
        for name in ("listed", "shared")
        if (names := os.listxattr(outputs / name))
    }
    image = outputs / "image"
    assert image.stat().st_blocks * 512 < MIB, "its holes take no room"
    with image.open("rb") as file:
        begin = file.read(4)
        file.seek(-3, os.SEEK_END)
        content = (image.stat().st_size, begin, file.read())
    image.unlink()
    found = {
        name: (kind, mode, b"" if name.startswith("venv") and not (outputs / name).is_symlink() else text, first)
        for name, (kind, mode, _, text, first) in tree(outputs).items()
    }
    return {**found, **attributes, "image": content}


def got(running: Stack, job: str, folder: Path, *options: str) -> tuple[int, dict[str, Any]]:
    done = running.cli("job", "get", job, "--output-dir", str(folder), "--output", "json", *options, check=False)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_on_a_file_system_that_can_have_it_nothing_is_lost(
    running: Stack, job: str, expected: dict[str, tuple[object, ...]], tmp_path: Path
) -> None:
    with mounted("ext4", tmp_path, size_bytes=128 * MIB) as place:
        code, report = got(running, job, place, "--links", "keep-text", "--xattrs")
        assert (code, report["Odd"]) == (0, [])
        assert comparable(place / "outputs") == expected


def test_on_a_file_system_that_cannot_have_it_nothing_is_lost_in_silence(
    running: Stack, job: str, expected: dict[str, tuple[object, ...]], tmp_path: Path
) -> None:
    with mounted("exfat", tmp_path, size_bytes=128 * MIB) as place:
        code, report = got(running, job, place, "--links", "keep-text", "--xattrs")
        found = {name: entry[3] for name, entry in tree(place / "outputs").items()}
        files = sum(path.is_file() for path in place.rglob("*"))
    odd = {each["Path"].removeprefix("outputs/"): each["Code"] for each in report["Odd"]}
    assert code == 5
    named = {name: entry for name, entry in expected.items() if not name.startswith("attributes of ")}
    assert len(named) == len(expected) - 2
    assert {code for code in report["OddCounts"] if code != "MetadataNotKept"} == {
        "AttributesNotRestored",
        "FileTooLarge",
        "HardLinkCopied",
        "NameCollides",
        "NameImpossible",
        "SymlinkImpossible",
    }
    assert {name for name, code in odd.items() if code == "AttributesNotRestored"} == {"listed", "shared"}
    missing = named.keys() - found.keys()
    assert missing <= odd.keys(), "what is not there is told"
    assert found.keys() <= named.keys()
    for name, content in found.items():
        assert content == expected[name][2] or name.startswith("venv")
    assert report["Files"] == files


def test_by_default_links_that_leave_are_left_out_with_a_warning(running: Stack, job: str, tmp_path: Path) -> None:
    code, report = got(running, job, tmp_path)
    told = {each["Path"] for each in report["Odd"]}
    assert (code, set(report["OddCounts"])) == (0, {"LinkLeavesResult", "AttributesIgnored"})
    assert {"outputs/broken", "outputs/leads-up"} <= told


TOO_DEEP = "cd outputs; i=0; while [ $i -lt 300 ]; do mkdir d; cd d; i=$((i+1)); done; echo x > file"


def test_a_result_that_the_node_could_not_read_whole_is_told_to_everybody(running: Stack, tmp_path: Path) -> None:
    path = tmp_path / "job.json"
    path.write_text(json.dumps(process_job(TOO_DEEP, ResultPaths=[{"Name": "outputs", "Path": "/outputs"}])))
    done = running.cli("job", "run", str(path))
    assert "not whole" in done.stderr
    job_id = done.stdout.split()[-1]
    (result,) = running.api(f"/orchestrator/jobs/{job_id}/results")["Items"]
    assert result["Params"]["LeftOutCount"] == 1
    assert "(1 left out)" in running.cli("job", "list").stdout
    assert "not whole: 1 entry" in running.cli("job", "describe", job_id).stdout
    assert "not whole" in running.cli("job", "get", job_id).stderr
    assert running.cli("job", "run", "--strict", "--force", str(path), check=False).returncode == 6
    strict = running.cli("job", "run", "--strict", "--get", "--force", str(path), check=False)
    assert strict.returncode == 6
    assert "have been written to" in strict.stdout
