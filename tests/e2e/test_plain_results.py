"""Results of `Encoding: plain`, as a user and a tool that reads the bucket see them."""

import hashlib
import json
from pathlib import Path
from typing import Any

import fsspec
import pytest

from tests.e2e.stack import Stack, process_job
from tests.servers import HOST

PATHS = [{"Name": "outputs", "Path": "/outputs"}]
PLAIN = {"Type": "s3managed", "Params": {"Encoding": "plain"}}
SCRIPT = r"""
cd outputs
mkdir -p empty many/deep
echo hello > a; echo -n > nothing; ln -s a link; ln a hard; chmod 700 a
printf x > "many/odd %41 ä +&"; printf y > "$(printf 'many/\377bytes')"
for n in $(seq 300); do echo $n > many/deep/$n; done
head -c 9000000 /dev/urandom > large; echo written
"""


def plain_job(script: str, **task: Any) -> dict[str, Any]:
    return process_job(script, ResultPaths=PATHS, Publisher=PLAIN, **task)


@pytest.fixture(scope="module")
def published(running: Stack) -> str:
    job = running.submit(plain_job(SCRIPT))
    ended = running.wait_ended(job)
    assert ended["Job"]["State"]["StateType"] == "Completed", ended
    return job


def tree(folder: Path) -> dict[str, tuple[int, str]]:
    """Mode and content, or where it leads, of all there is."""
    found = {}
    for path in folder.rglob("*"):
        if path.is_symlink():
            told = str(path.readlink())
        else:
            told = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        found[str(path.relative_to(folder))] = (path.lstat().st_mode, told)
    return found


def test_files_are_objects_under_their_own_names_and_the_manifest_lies_beside(running: Stack, published: str) -> None:
    (execution,) = running.describe(published)["Executions"]["Items"]
    told = execution["PublishedResult"]["Params"]
    assert told["Encoding"] == "plain"
    assert told["Key"] == f"results/{published}/{execution['ID']}.manifest.json.gz"
    folder = f"results/{published}/{execution['ID']}/"
    keys = {key.removeprefix(folder) for key in running.all_keys() if key.startswith(folder)}
    assert {"stdout", "exitCode", "outputs/a", "outputs/many/odd %2541 ä +&", "outputs/many/%FFbytes"} < keys
    assert len(keys) == 3 + 4 + 1 + 300


def test_what_is_fetched_is_what_the_task_wrote(running: Stack, published: str, tmp_path: Path) -> None:
    running.cli("job", "get", published, "--output-dir", str(tmp_path / "plain"))
    archived = running.submit(process_job(SCRIPT.replace("large", "/dev/null"), ResultPaths=PATHS))
    running.wait_ended(archived)
    running.cli("job", "get", archived, "--output-dir", str(tmp_path / "archive"))
    plain, expected = tree(tmp_path / "plain"), tree(tmp_path / "archive")
    assert plain.pop("outputs/large")
    assert plain == expected
    assert (tmp_path / "plain/outputs/a").stat().st_nlink == 2


def test_files_are_listed_shown_and_picked_as_those_of_an_archive(
    running: Stack, published: str, tmp_path: Path
) -> None:
    listed = json.loads(running.cli("job", "files", published, "--output", "json").stdout)
    assert {"outputs/empty": "directory", "outputs/link": "symlink", "outputs/hard": "hardlink"}.items() <= {
        each["Path"]: each["Type"] for each in listed
    }.items()
    assert running.cli("job", "cat", published, "outputs/hard").stdout == "hello\n"
    running.cli("job", "get", published, "outputs/many/deep/3*", "outputs/large", "--output-dir", str(tmp_path))
    assert (tmp_path / "outputs/many/deep/300").read_text() == "300\n"
    assert (tmp_path / "outputs/large").stat().st_size == 9_000_000


def test_programs_read_its_files_by_range(running: Stack, published: str) -> None:
    options = {"host": HOST, "port": running.api_port}
    with fsspec.open(f"tarpon://{published}/outputs/many/deep/17", **options) as file:
        assert file.read() == b"17\n"
    with fsspec.open(f"tarpon://{published}/outputs/large", **options) as file:
        file.seek(8_999_990)
        assert len(file.read()) == 10


def test_what_it_wrote_is_its_log(running: Stack, published: str) -> None:
    assert running.cli("job", "logs", published).stdout == "written\n"


@pytest.mark.parametrize("arguments", [("get", "--raw"), ("url",)])
def test_who_asks_for_the_archive_is_told_that_there_is_none(
    running: Stack, published: str, arguments: tuple[str, ...]
) -> None:
    refused = running.cli("job", arguments[0], published, *arguments[1:], check=False)
    assert refused.returncode != 0
    assert "and no archive" in refused.stderr
