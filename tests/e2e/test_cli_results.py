"""How results come into folders, and what is said when there are none, as a user sees it."""

import json
import subprocess
import sys
import tarfile
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from tests.e2e.stack import Stack, _plain_environment, process_job
from tests.servers import HOST

WITH_FOLDER = {"ResultPaths": [{"Name": "outputs", "Path": "/outputs"}]}


@pytest.fixture(scope="module")
def two_parts(running: Stack) -> str:
    """A completed job with two partitions."""
    job = process_job("echo part $TARPON_PARTITION_INDEX; echo x > outputs/file", **WITH_FOLDER) | {"Count": 2}
    return completed(running, job)


def completed(stack: Stack, job: dict[str, Any]) -> str:
    job_id = stack.submit(job)
    assert stack.wait_ended(job_id)["Job"]["State"]["StateType"] == "Completed"
    return job_id


def executions(stack: Stack, job_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(stack.cli("job", "executions", job_id, "--output", "json").stdout)
    return found


def test_several_results_get_a_folder_each_so_that_it_is_known_who_wrote_what(
    running: Stack, two_parts: str, tmp_path: Path
) -> None:
    running.cli("job", "get", two_parts, "--output-dir", str(tmp_path))
    for part in (0, 1):
        folder = tmp_path / f"000{part}"
        assert (folder / "stdout").read_text() == f"part {part}\n"
        assert (folder / "outputs" / "file").read_text() == "x\n"
    assert len(list(tmp_path.iterdir())) == 2


def test_urls_are_printed_for_other_programs_with_when_they_expire(running: Stack, two_parts: str) -> None:
    plain = running.cli("job", "url", two_parts).stdout.splitlines()
    begun = datetime.now(UTC)
    told = json.loads(running.cli("job", "url", two_parts, "--output", "json").stdout)
    assert [urlsplit(url).path for url in plain] == [urlsplit(each["PreSignedURL"]).path for each in told]
    for each in told:
        left = datetime.fromisoformat(each["ExpiresAt"]) - begun
        assert timedelta(minutes=59) < left < timedelta(minutes=61)
    (one,) = running.cli("job", "url", two_parts, "--partition", "1").stdout.splitlines()
    assert urlsplit(one).path == urlsplit(plain[1]).path
    with urllib.request.urlopen(one) as answer:
        assert answer.headers.get_filename() == f"{two_parts}-0001.tar.gz"
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(urllib.request.Request(one, method="HEAD"))


def test_archive_and_index_are_saved_under_the_name_of_the_job(running: Stack) -> None:
    job = process_job("head -c 1500000 /dev/urandom > outputs/noise", **WITH_FOLDER)
    job_id = completed(running, job | {"Name": 'größe "x"; a=../b'})
    (item,) = running.api(f"/orchestrator/jobs/{job_id}/results")["Items"]
    for key, ending in (("PreSignedURL", "tar.gz"), ("IndexURL", "index.json.gz")):
        with urllib.request.urlopen(item["Params"][key]) as answer:
            told = answer.headers["Content-Disposition"]
        plain = f'attachment; filename="gr__e _x__ a_.._b.{ending}"'
        assert told == f"{plain}; filename*=UTF-8''gr%C3%B6%C3%9Fe%20_x_%3B%20a%3D.._b.{ending}"


def test_raw_results_are_the_archives(running: Stack, two_parts: str, tmp_path: Path) -> None:
    running.cli("job", "get", two_parts, "--raw", "--output-dir", str(tmp_path))
    names = {f"{two_parts}_{each['ID']}.tar.gz" for each in executions(running, two_parts)}
    assert {path.name for path in (tmp_path / "raw").iterdir()} == names
    with tarfile.open(tmp_path / "raw" / min(names)) as archive:
        assert "outputs/file" in [name.removeprefix("./") for name in archive.getnames()]


def test_nothing_is_downloaded_over_what_is_there(running: Stack, two_parts: str, tmp_path: Path) -> None:
    job_id = completed(running, process_job("echo new"))
    (tmp_path / "stdout").write_text("mine")
    done = running.cli("job", "get", job_id, "--output-dir", str(tmp_path), check=False)
    assert done.returncode == 1
    assert "Nothing was downloaded" in done.stderr
    assert "stdout" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["stdout"]
    assert (tmp_path / "stdout").read_text() == "mine"


def test_a_folder_that_is_named_is_made_with_those_above_it(running: Stack, two_parts: str, tmp_path: Path) -> None:
    running.cli("job", "get", two_parts, "--output-dir", str(tmp_path / "of" / "two"))
    assert (tmp_path / "of" / "two" / "0001" / "stdout").read_text() == "part 1\n"
    (tmp_path / "file").touch()
    done = running.cli("job", "get", two_parts, "--output-dir", str(tmp_path / "file"), check=False)
    assert done.returncode == 2
    assert "is no folder" in done.stderr


def test_results_go_into_a_folder_named_as_the_job_was_typed(running: Stack) -> None:
    job_id = completed(running, process_job("true") | {"Name": "typed-name"})
    assert f"job '{job_id[:12]}' have been written to" in running.cli("job", "get", job_id[:12]).stdout
    assert (running.root / f"job-{job_id[:12]}" / "exitCode").read_text() == "0"
    running.cli("job", "get", "typed-name")
    assert (running.root / "job-typed-name" / "exitCode").exists()


def test_a_job_without_a_publisher_has_nothing_to_get_and_that_is_no_error(running: Stack) -> None:
    job = process_job("echo hello")
    del job["Tasks"][0]["Publisher"]
    done = running.cli("job", "get", completed(running, job))
    assert "No results found" in done.stderr
    assert "tarpon job logs" in done.stderr


def test_a_job_that_still_runs_has_no_results_yet(running: Stack, tmp_path: Path) -> None:
    job_id = running.submit(process_job("sleep 60"))
    running.wait_state(job_id, "Running")
    done = running.cli("job", "get", job_id, check=False)
    assert done.returncode == 1
    assert "has no results yet" in done.stderr
    assert not (running.root / f"job-{job_id}").exists()
    running.cli("job", "stop", job_id)
    running.wait_ended(job_id)
    done = running.cli("job", "get", job_id, check=False)
    assert "Stopped and has no results" in done.stderr


def test_a_job_that_fails_ends_the_command_with_1_and_its_reason(running: Stack, tmp_path: Path) -> None:
    job = process_job("true")
    job["Tasks"][0]["Engine"]["Params"]["Entrypoint"] = ["/no/such/program"]
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump(job))
    done = running.cli("job", "run", str(path), check=False)
    assert done.returncode == 1
    assert "/no/such/program" in done.stderr.partition("Error:")[2]
    assert running.cli("job", "run", "--exit-zero", "--force", str(path)).returncode == 0


def test_run_and_get_in_one_go(running: Stack, tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump(process_job("echo in one go; exit 3")))
    done = running.cli("job", "run", "--get", "--id-only", str(path))
    job_id = done.stdout.splitlines()[0]
    assert "Exit code: 3." in done.stderr
    assert (running.root / f"job-{job_id}" / "stdout").read_text() == "in one go\n"


def test_a_run_puts_results_where_they_are_fetched_to_by_the_name_of_its_job(running: Stack, tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump(process_job("echo $TARPON_PARTITION_INDEX") | {"Name": "one/rule"}))
    folder = running.root / "job-one_rule"
    assert str(folder) in running.cli("job", "run", "--get", str(path)).stdout
    assert (folder / "stdout").read_text() == "0\n"
    folder.rename(tmp_path / "first")
    running.cli("job", "get", "one/rule")
    folder.rename(tmp_path / "second")
    running.cli("job", "rerun", "one/rule", "--get")
    assert (folder / "stdout").read_text() == "0\n"


LARGE = """
mkdir -p outputs/deep; echo hello; echo oops >&2
head -c 3000000 /dev/urandom > outputs/noise.bin
echo small > outputs/deep/small.txt; chmod 640 outputs/deep/small.txt
ln outputs/deep/small.txt outputs/hard.txt; ln -s deep/small.txt outputs/link.txt
"""


@pytest.fixture(scope="module")
def large(running: Stack) -> str:
    """A job whose result has an index."""
    job_id = completed(running, process_job(LARGE, **WITH_FOLDER))
    (result,) = running.api(f"/orchestrator/jobs/{job_id}/results")["Items"]
    assert result["Params"]["IndexURL"], "its result has several blocks"
    return job_id


NAMES = ["exitCode", "outputs", "outputs/deep", "outputs/deep/small.txt", "outputs/hard.txt", "outputs/link.txt"]


def placed(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_the_files_of_a_result_are_listed(running: Stack, large: str) -> None:
    lines = running.cli("job", "files", large).stdout.splitlines()
    assert [line.rstrip("/") for line in lines] == [*NAMES, "outputs/noise.bin", "stderr", "stdout"]
    assert "outputs/" in lines
    long = running.cli("job", "files", large, "--long").stdout
    assert long.startswith("MODE ")
    assert "-rw-r-----         6 B  " in long
    assert "outputs/link.txt -> deep/small.txt\n" in long


def test_the_files_of_a_result_are_listed_for_programs(running: Stack, large: str) -> None:
    found = json.loads(running.cli("job", "files", large, "--output", "json").stdout)
    by_path = {each["Path"]: each for each in found}
    assert by_path["outputs/noise.bin"]["Size"] == 3_000_000
    assert by_path["outputs/hard.txt"]["Target"] == "outputs/deep/small.txt"
    assert {each["Type"] for each in found} == {"file", "directory", "symlink", "hardlink"}
    assert yaml.safe_load(running.cli("job", "files", large, "--output", "yaml").stdout) == found


def test_the_files_of_a_small_result_are_listed_without_an_index(running: Stack, two_parts: str) -> None:
    (_, second) = executions(running, two_parts)
    shown = running.cli("job", "files", two_parts, "--execution", second["ID"]).stdout
    assert shown.splitlines() == ["exitCode", "outputs/", "outputs/file", "stderr", "stdout"]


def test_one_file_of_a_result_is_printed(running: Stack, large: str, two_parts: str) -> None:
    assert running.cli("job", "cat", large, "outputs/link.txt").stdout == "small\n"
    assert running.cli("job", "cat", f"{large}/outputs/hard.txt").stdout == "small\n"
    assert running.cli("job", "cat", two_parts, "stdout", "--partition", "1").stdout == "part 1\n"


def test_a_reader_that_has_seen_enough_is_no_error(running: Stack, large: str) -> None:
    command = [sys.executable, "-m", "tarpon", "job", "cat", large, "outputs/noise.bin"]
    environment = _plain_environment() | {"TARPON_API_PORT": str(running.api_port), "TARPON_API_HOST": HOST}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert len(process.stdout.read(1000)) == 1000
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(30) == 0


def test_what_is_not_in_a_result_is_told_with_what_comes_close(running: Stack, large: str, tmp_path: Path) -> None:
    for command in (["cat"], ["get", "--output-dir", str(tmp_path)]):
        done = running.cli("job", *command, large, "outputs/smal.txt", check=False)
        assert done.returncode == 1
        assert "[FileNotInResult]" in done.stderr
        assert "outputs/deep/small.txt" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_some_files_are_fetched_alone_and_others_beside_them_later(running: Stack, large: str, tmp_path: Path) -> None:
    done = running.cli("job", "get", large, "stdout", "outputs/*.txt", "--output-dir", str(tmp_path))
    assert "3 files" in done.stderr
    assert placed(tmp_path) == [*NAMES[1:], "stdout"]
    assert (tmp_path / "outputs" / "deep" / "small.txt").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "outputs" / "hard.txt").samefile(tmp_path / "outputs" / "deep" / "small.txt")
    running.cli("job", "get", f"{large}/outputs/noise.bin", "--output-dir", str(tmp_path))
    assert (tmp_path / "outputs" / "noise.bin").stat().st_size == 3_000_000
    again = running.cli("job", "get", large, "outputs/hard.txt", "--output-dir", str(tmp_path), check=False)
    assert again.returncode == 1
    assert "[ResultsInTheWay]" in again.stderr


def test_a_hard_link_alone_is_a_file_of_its_own(running: Stack, large: str, tmp_path: Path) -> None:
    running.cli("job", "get", large, "outputs/hard.txt", "--output-dir", str(tmp_path))
    assert (tmp_path / "outputs" / "hard.txt").read_text() == "small\n"


def test_where_a_job_wants_copies_each_name_is_a_file(running: Stack, tmp_path: Path) -> None:
    script = "head -c 1500000 /dev/urandom > outputs/noise; ln outputs/noise outputs/again"
    publisher = {"Type": "s3managed", "Params": {"hardlinks": "Copy"}}
    job_id = completed(running, process_job(script, Publisher=publisher, **WITH_FOLDER))
    listed = json.loads(running.cli("job", "files", job_id, "--output", "json").stdout)
    assert {(each["Path"], each["Type"], each.get("Size")) for each in listed} >= {
        ("outputs/again", "file", 1_500_000),
        ("outputs/noise", "file", 1_500_000),
    }
    for folder, chosen in (("whole", []), ("one", ["outputs/again"])):
        (tmp_path / folder).mkdir()
        running.cli("job", "get", job_id, *chosen, "--output-dir", str(tmp_path / folder))
    noise = (tmp_path / "whole" / "outputs" / "noise").read_bytes()
    assert noise == (tmp_path / "whole" / "outputs" / "again").read_bytes()
    assert noise == (tmp_path / "one" / "outputs" / "again").read_bytes()
    (offered,) = running.api(f"/orchestrator/jobs/{job_id}/results")["Items"]
    assert offered["Params"]["RawSize"] > 3_000_000
    running.cli("job", "get", job_id, "--raw", "--output-dir", str(tmp_path))
    (archive,) = (tmp_path / "raw").iterdir()
    with tarfile.open(archive) as opened:
        assert [member.name for member in opened if member.islnk()] == []


def test_paths_of_several_results_come_into_a_folder_each(running: Stack, two_parts: str, tmp_path: Path) -> None:
    running.cli("job", "get", two_parts, "stdout", "--output-dir", str(tmp_path))
    for part in (0, 1):
        assert placed(tmp_path / f"000{part}") == ["stdout"]


def test_one_of_several_results_comes_directly_into_the_folder(running: Stack, two_parts: str, tmp_path: Path) -> None:
    running.cli("job", "get", two_parts, "--partition", "1", "--output-dir", str(tmp_path))
    assert (tmp_path / "stdout").read_text() == "part 1\n"
    done = running.cli("job", "get", two_parts, "--partition", "7", "--output-dir", str(tmp_path), check=False)
    assert done.returncode == 1
    assert "no result of partition 7" in done.stderr


def test_where_several_results_are_there_one_has_to_be_chosen(running: Stack, two_parts: str) -> None:
    for command in (["files", two_parts], ["cat", two_parts, "stdout"]):
        done = running.cli("job", *command, check=False)
        assert done.returncode == 2
        assert "--partition" in done.stderr
        assert executions(running, two_parts)[0]["ID"] in done.stderr


def test_results_are_merged_when_they_can_be(running: Stack, tmp_path: Path) -> None:
    script = "echo part $TARPON_PARTITION_INDEX; echo x > outputs/$TARPON_PARTITION_INDEX"
    job_id = completed(running, process_job(script, **WITH_FOLDER) | {"Count": 2})
    running.cli("job", "get", job_id, "--merge", "--output-dir", str(tmp_path))
    always = [f"{name}.000{part}" for name in ("exitCode", "stderr", "stdout") for part in (0, 1)]
    assert placed(tmp_path) == sorted([*always, "outputs", "outputs/0", "outputs/1"])
    assert (tmp_path / "stdout.0001").read_text() == "part 1\n"


def test_results_that_cannot_be_merged_are_refused_before_anything_is_placed(running: Stack, tmp_path: Path) -> None:
    script = "touch outputs/x; [ $TARPON_PARTITION_INDEX = 0 ] || touch outputs/x.0000"
    job_id = completed(running, process_job(script, **WITH_FOLDER) | {"Count": 2})
    done = running.cli("job", "get", job_id, "--merge", "--output-dir", str(tmp_path), check=False)
    assert done.returncode == 1
    assert "[ResultsNotMerged]" in done.stderr
    assert "outputs/x.0000" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_raw_download_goes_on_with_what_is_there(running: Stack, large: str, tmp_path: Path) -> None:
    running.cli("job", "get", large, "--raw", "--output-dir", str(tmp_path))
    (archive,) = (tmp_path / "raw").iterdir()
    whole = archive.read_bytes()
    (result,) = running.api(f"/orchestrator/jobs/{large}/results")["Items"]
    note = {"etag": result["Params"]["ETag"], "sha256": result["Params"]["SHA256"], "size": len(whole)}
    archive.with_name(f"{archive.name}.part").write_bytes(whole[:1_000_000])
    archive.with_name(f"{archive.name}.part.json").write_text(json.dumps(note))
    archive.unlink()
    running.cli("job", "get", large, "--raw", "--output-dir", str(tmp_path))
    assert [path.name for path in (tmp_path / "raw").iterdir()] == [archive.name]
    assert archive.read_bytes() == whole


def test_what_a_large_task_wrote_is_read_out_of_its_result(running: Stack) -> None:
    script = "seq 1 2000; head -c 3000000 /dev/urandom > outputs/noise.bin; echo late >&2"
    job_id = completed(running, process_job(script, **WITH_FOLDER))
    done = running.cli("job", "logs", job_id)
    assert done.stdout.splitlines()[-1] == "2000"
    assert done.stderr == "late\n"


def test_the_results_of_earlier_versions_are_there_still(running: Stack, tmp_path: Path) -> None:
    job_id = completed(running, process_job("echo first; echo 1 > outputs/n", **WITH_FOLDER) | {"Name": "twice"})
    (first,) = executions(running, job_id)
    completed(running, process_job("echo second") | {"Name": "twice"})
    assert running.cli("job", "cat", "twice", "stdout").stdout == "second\n"
    for chosen in (("--job-version", "1"), ("-e", first["ID"][:20]), ("-e", first["ID"], "--job-version", "1")):
        assert running.cli("job", "cat", "twice", "stdout", *chosen).stdout == "first\n"
        assert "outputs/n" in running.cli("job", "files", "twice", *chosen).stdout.splitlines()
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        running.cli("job", "get", "twice", *chosen, "--output-dir", str(folder))
        assert (folder / "outputs" / "n").read_text() == "1\n"
    missing = running.cli("job", "get", "twice", "--job-version", "7", check=False)
    assert "has no version 7" in missing.stderr
    elsewhere = running.cli("job", "cat", "twice", "stdout", "-e", first["ID"], "--job-version", "2", check=False)
    assert "has no result of an execution" in elsewhere.stderr


def test_the_failure_of_a_version_is_not_told_as_the_reason_of_the_next(running: Stack) -> None:
    first = process_job("true") | {"Name": "moody", "Constraints": [{"Key": "never", "Operator": "exists"}]}
    assert running.wait_ended(running.submit(first))["Job"]["State"]["StateType"] == "Failed"
    second = process_job("true") | {"Name": "moody"}
    second["Tasks"][0]["Engine"]["Params"] = {"Entrypoint": ["/no/such/command"]}
    path = running.root / "moody.json"
    path.write_text(json.dumps(second))
    done = running.cli("job", "run", str(path), check=False)
    assert "'/no/such/command' was not found" in done.stderr
    assert "never" not in done.stderr
