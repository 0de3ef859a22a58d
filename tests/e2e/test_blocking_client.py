"""Programs that do not await: jobs, logs and results by `tarpon.SyncClient`, and files by fsspec, of a real stack."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

import tarpon
from shared.errors import RemoteError
from tarpon.filesystem import TarponFileSystem
from tests.e2e.stack import Stack, process_job
from tests.servers import HOST

WITH_FOLDER = {"ResultPaths": [{"Name": "outputs", "Path": "/outputs"}]}
WRITES = (
    "mkdir -p outputs/deep/er; head -c 3000000 /dev/urandom > outputs/noise; cp outputs/noise outputs/deep/er/copy;"
    " ln -s deep/er/copy outputs/link; printf 'a,b\\n1,2\\n' > outputs/table.csv; : > outputs/empty; echo done"
)


@pytest.fixture(scope="module")
def client(running: Stack) -> Iterator[tarpon.SyncClient]:
    with tarpon.SyncClient(HOST, running.api_port) as made:
        yield made


@pytest.fixture(scope="module")
def job(client: tarpon.SyncClient) -> str:
    submitted = client.submit(process_job(WRITES, **WITH_FOLDER))
    assert client.wait(submitted.job_id).status == tarpon.JobState.COMPLETED
    return submitted.job_id


@pytest.fixture(scope="module")
def files(running: Stack) -> TarponFileSystem:
    return TarponFileSystem(HOST, running.api_port)


@pytest.fixture(scope="module")
def noise(client: tarpon.SyncClient, job: str) -> bytes:
    content = bytearray()
    client.read_file(job, "outputs/noise", content.extend)
    return bytes(content)


def test_a_job_is_fetched_and_its_progress_told(client: tarpon.SyncClient, job: str, tmp_path: Path) -> None:
    told: list[Any] = []
    fetched = client.get_results(job, output_dir=tmp_path / "r", on_progress=lambda *each: told.append(each))
    assert fetched.folder is not None
    assert (fetched.folder / "outputs" / "table.csv").read_text() == "a,b\n1,2\n"
    assert told


def test_logs_and_files_are_iterators(client: tarpon.SyncClient, job: str) -> None:
    assert "".join(line.line for line in client.logs(job, follow=True)) == "done\n"
    assert {"outputs/noise", "outputs/deep/er/copy", "stdout"} <= {each.path for each in client.list_files(job)}


def test_an_error_is_that_of_the_other_client(client: tarpon.SyncClient) -> None:
    with pytest.raises(RemoteError, match="no-such-job"):
        client.get("no-such-job")


def test_several_threads_use_one_client(client: tarpon.SyncClient, job: str) -> None:
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(client.get(job).id)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [job] * 8


async def test_it_works_in_a_notebook_whose_loop_runs_already(client: tarpon.SyncClient, job: str) -> None:
    assert client.get(job).id == job


def test_a_program_that_closes_nothing_ends_without_a_word(running: Stack, job: str) -> None:
    program = (
        "import sys, tarpon, fsspec",
        "host, port, job = sys.argv[1], int(sys.argv[2]), sys.argv[3]",
        "print(tarpon.SyncClient(host, port).get(job).id)",
        "print(fsspec.open(f'tarpon://{job}/outputs/table.csv', host=host, port=port).open().read())",
    )
    command = [sys.executable, "-W", "error", "-c", "\n".join(program), HOST, str(running.api_port), job]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert (done.stdout, done.stderr) == (f"{job}\nb'a,b\\n1,2\\n'\n", "")


# ---- fsspec -------------------------------------------------------------------------------------------------------


def test_folders_and_files_are_listed_as_fsspec_has_them(files: TarponFileSystem, job: str) -> None:
    assert sorted(files.ls(f"tarpon://{job}/outputs", detail=False)) == [
        f"{job}/outputs/{name}" for name in ("deep", "empty", "link", "noise", "table.csv")
    ]
    assert files.info(f"{job}/outputs/noise")["size"] == 3_000_000
    assert files.isdir(f"{job}/outputs/deep")
    assert files.info(f"{job}/outputs/link")["type"] == "file"
    assert files.glob(f"{job}/outputs/**/co*") == [f"{job}/outputs/deep/er/copy"]
    assert files.du(f"{job}/outputs/deep") == 3_000_000
    assert {f"{job}/stdout", f"{job}/outputs/noise"} <= set(files.find(job))


@pytest.mark.parametrize(
    ("start", "end"), [(0, 10), (1_048_570, 1_048_590), (2_999_990, None), (-5, None), (5, 5), (None, None)]
)
def test_any_part_of_a_file_is_read(
    files: TarponFileSystem, job: str, noise: bytes, start: int | None, end: int | None
) -> None:
    assert files.cat_file(f"{job}/outputs/noise", start, end) == noise[start:end]


def test_a_file_is_read_bit_by_bit_and_through_a_link(files: TarponFileSystem, job: str, noise: bytes) -> None:
    with files.open(f"tarpon://{job}/outputs/link", "rb") as file:
        file.seek(2_000_000)
        assert file.read(100) == noise[2_000_000:2_000_100]
        file.seek(0)
        assert file.read() == noise
    assert files.cat_file(f"{job}/outputs/empty") == b""
    with files.open(f"tarpon://{job}/outputs/table.csv", "rt") as text:
        assert text.read() == "a,b\n1,2\n"


def test_parts_are_read_at_the_same_time(files: TarponFileSystem, job: str, noise: bytes) -> None:
    starts = list(range(0, 3_000_000, 250_000))
    found = files.cat_ranges([f"{job}/outputs/noise"] * len(starts), starts, [start + 1000 for start in starts])
    assert found == [noise[start : start + 1000] for start in starts]


def test_a_tree_is_fetched(files: TarponFileSystem, job: str, noise: bytes, tmp_path: Path) -> None:
    files.get(f"{job}/outputs", str(tmp_path / "got"), recursive=True)
    assert (tmp_path / "got" / "deep" / "er" / "copy").read_bytes() == noise
    assert (tmp_path / "got" / "empty").read_bytes() == b""


def test_what_is_not_there_cannot_be_read_and_nothing_be_written(files: TarponFileSystem, job: str) -> None:
    with pytest.raises(FileNotFoundError, match="outputs/missing"):
        files.cat_file(f"{job}/outputs/missing")
    with pytest.raises(FileNotFoundError, match="no-such-job"):
        files.ls("no-such-job")
    with pytest.raises(IsADirectoryError):
        files.cat_file(f"{job}/outputs")
    with pytest.raises(OSError, match="cannot be written"):
        files.open(f"{job}/outputs/new", "wb")
    assert not files.exists(f"{job}/missing")


def test_another_version_of_a_job_is_seen_when_the_earlier_one_is_forgotten(
    files: TarponFileSystem, client: tarpon.SyncClient
) -> None:
    def run(word: str) -> None:
        job = process_job(f"echo {word}") | {"Name": "again"}
        client.wait(client.submit(job).job_id)

    run("first")
    assert files.cat_file("again/stdout") == b"first\n"
    run("second")
    assert files.cat_file("again/stdout") == b"first\n"
    files.invalidate_cache("tarpon://again")
    assert files.cat_file("again/stdout") == b"second\n"


def test_it_is_found_by_its_name_alone(running: Stack, job: str) -> None:
    """As pandas does it: with options for the storage, or with what the environment says."""
    options = {"host": HOST, "port": running.api_port}
    with fsspec.open(f"tarpon://{job}/stdout", **options) as file:
        assert file.read() == b"done\n"
    assert json.loads(fsspec.filesystem("tarpon", **options).to_json())["protocol"] == "tarpon"
