"""Two results are compared by the command line: what differs, where, and with which exit code."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.documents import text_of
from tests.e2e.stack import Stack, process_job

PATHS = [{"Name": "outputs", "Path": "/outputs"}]
PLAIN = {"Type": "s3managed", "Params": {"Encoding": "plain"}}
SCRIPT = r"""
cd outputs; mkdir same
seq 400000 > same/large
seq 400000 | sed 's/^399999$/here/' > large
echo {word} > "odd $(printf '\377')"; printf '\001\002{word}' > binary
ln -s {word} link; : > only-{word}; chmod {mode} same
"""
DIFFERENT = 8


def ended(running: Stack, word: str, *, mode: str = "755", **task: Any) -> str:
    script = SCRIPT.replace("{word}", word).replace("here", word).replace("{mode}", mode)
    job = running.submit(process_job(script, ResultPaths=PATHS, **task))
    assert running.wait_ended(job)["Job"]["State"]["StateType"] == "Completed"
    return job


@pytest.fixture(scope="module")
def first(running: Stack) -> str:
    return ended(running, "first")


@pytest.fixture(scope="module")
def second(running: Stack) -> str:
    return ended(running, "second", mode="700")


def test_each_path_that_differs_is_told_with_its_first_difference(running: Stack, first: str, second: str) -> None:
    done = running.cli("job", "compare", first, second, check=False)
    assert done.returncode == DIFFERENT, done.stderr
    told = done.stdout.split("\n", 1)[1]
    assert told == (
        "  outputs/binary: size 7 and 8, content\n"
        "    from byte 2 on; bytes from 0 on:\n"
        "    - 01 02 66 69 72 73 74\n"
        "    + 01 02 73 65 63 6f 6e 64\n"
        "  outputs/large: size 2,688,894 and 2,688,895, content\n"
        "    from byte 2,688,881 on; line 399,999:\n"
        "    - first\n"
        "    + second\n"
        "  outputs/link: target first and second\n"
        "  outputs/odd \N{REPLACEMENT CHARACTER}: size 6 and 7, content\n"
        "    from byte 0 on; line 1:\n"
        "    - first\n"
        "    + second\n"
        "  outputs/only-first: only in the first\n"
        "  outputs/only-second: only in the second\n"
        "  outputs/same: mode 0755 and 0700\n"
    )


def test_the_same_is_told_to_programs_and_no_more_than_they_want(running: Stack, first: str, second: str) -> None:
    done = running.cli("job", "compare", first, second, "--output", "json", "--limit", "1", check=False)
    assert done.returncode == DIFFERENT, done.stderr
    told = json.loads(done.stdout)
    (result,) = told["Results"]
    (only,) = result["Differences"]
    assert (told["Equal"], result["Differing"], result["Paths"]) == (False, 7, 12)
    assert (only["Path"], only["Differs"]) == ("outputs/binary", ["size", "content"])
    assert only["Bytes"]["Second"] == "01027365636f6e64"


def test_results_are_the_same_however_they_are_stored_and_whenever_they_were_made(running: Stack, first: str) -> None:
    again = ended(running, "first", Publisher=PLAIN)
    done = running.cli("job", "compare", first, again)
    assert "are the same: 11 paths" in done.stdout


def test_what_differs_is_known_without_the_archives(running: Stack) -> None:
    one, same, other = (ended(running, word) for word in ("one", "one", "other"))
    for key in [key for key in running.objects() if key.split("/")[1] in {one, same, other}]:
        running.s3.client().delete_object(Bucket=running.bucket, Key=key)
    assert "are the same: 11 paths" in running.cli("job", "compare", one, same).stdout
    told = running.cli("job", "compare", one, other, "--limit", "0", check=False)
    assert (told.returncode, "differ in 6 of 12 paths" in told.stdout) == (DIFFERENT, True), told.stderr


def test_two_executions_of_one_job_are_compared_by_their_ids(running: Stack, first: str) -> None:
    running.cli("job", "rerun", first)
    executions = json.loads(running.cli("job", "executions", first, "--all-job-versions", "--output", "json").stdout)
    one, other = [each["ID"] for each in executions]
    assert "are the same" in running.cli("job", "compare", one, other).stdout
    refused = running.cli("job", "compare", one, other[:-1] + ("0" if other[-1] != "0" else "1"), check=False)
    assert "There is no execution" in refused.stderr
    refused = running.cli("job", "compare", one, other[:10], check=False)
    assert "An id of an execution begins so" in refused.stderr
    told = json.loads(running.cli("job", "compare", first, "-e", one[:20], "-e", other[:20], "--output", "json").stdout)
    assert [(each["First"]["ExecutionID"], each["Second"]["ExecutionID"]) for each in told["Results"]] == [(one, other)]
    for named, why in (
        ((first, "-e", "e-", "-e", one), "is the beginning of 2 executions' ids"),
        ((first, "-e", one), "two executions of a job with -e"),
        ((first, first, "-e", one), "1 executions are named, and 2 jobs"),
    ):
        assert why in running.cli("job", "compare", *named, check=False).stderr


def test_a_folder_is_compared_with_what_was_published(running: Stack, tmp_path: Path, first: str) -> None:
    folder = tmp_path / "fetched"
    running.cli("job", "get", first, "--job-version", "1", "--output-dir", str(folder))
    (one, *_) = json.loads(running.cli("job", "executions", first, "--all-job-versions", "--output", "json").stdout)
    assert "are the same: 11 paths" in running.cli("job", "compare", one["ID"], str(folder)).stdout
    verify = ("job", "verify", str(folder), "--execution", one["ID"])
    assert f"{one['ID']} is what node {one['NodeID']} signed" in running.cli(*verify).stdout
    (folder / "outputs" / "large").write_text("changed\n")
    told = running.cli("job", "compare", one["ID"], str(folder), check=False)
    assert (told.returncode, "outputs/large: size" in told.stdout) == (DIFFERENT, True)
    told = running.cli(*verify, check=False)
    assert (told.returncode, "[FolderDiffers]" in told.stdout) == (DIFFERENT, True)
    refused = running.cli("job", "compare", first, "nofolder/", check=False)
    assert "A folder of this machine begins with a dot or a slash, as in ./nofolder/." in refused.stderr
    shown = running.shell(f"tarpon job verify ./fetched --execution {one['ID']} || true", cwd=tmp_path)
    (advice,) = re.findall("`(tarpon job compare .*)`", shown)
    assert "outputs/large: size" in running.shell(f"{advice} || true", cwd=tmp_path)


def test_parts_that_only_one_job_has_are_a_difference(running: Stack) -> None:
    one, two = (running.submit(process_job("echo x") | {"Count": count}) for count in (1, 2))
    running.wait_ended(one)
    running.wait_ended(two)
    done = running.cli("job", "compare", one, two, check=False)
    assert done.returncode == DIFFERENT
    assert "are the same: 3 paths" in done.stdout
    assert "Only the second has results of 1 parts, such as part 1." in done.stdout


def test_the_documented_examples_run_as_they_are_written(running: Stack, tmp_path: Path) -> None:
    page = text_of("docs/provenance.md")
    first, second = re.findall(r"```bash\n(.*?)```", page, re.DOTALL)[:2]
    (told,) = re.findall(r"```text\n(.*?)```", page, re.DOTALL)[:1]
    shown = running.shell(first.replace("compare one two", "compare one two || true"), cwd=tmp_path)
    assert re.sub(r"\be-[-0-9a-f]{36}", "e-...", shown).endswith(told)
    shown = running.shell(second, cwd=tmp_path)
    assert f"\nexit code {DIFFERENT}\n" in shown
    assert shown.endswith("are the same: 5 paths.\n")
