"""What `tarpon wasm run` makes of its flags."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tarpon.cli.job.module_runs import run
from tests.wasm_modules import exits, exporter


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "main.wasm").write_bytes(exits(0))
    (tmp_path / "lib.wasm").write_bytes(exporter())
    return tmp_path


def job_of(*arguments: str) -> Any:
    done = CliRunner().invoke(run, ["--dry-run", "-o", "json", *arguments])
    assert done.exit_code == 0, done.output
    (task,) = json.loads(done.stdout)["Tasks"]
    return task


def refusal(*arguments: str) -> str:
    done = CliRunner().invoke(run, ["--dry-run", *arguments])
    assert done.exit_code == 2
    return done.output


def test_a_small_module_of_this_machine_is_in_the_job() -> None:
    task = job_of("main.wasm", "one", "--two")
    assert task["Engine"] == {
        "Type": "wasm",
        "Params": {"EntryModule": "/main.wasm", "Entrypoint": "_start", "Parameters": ["one", "--two"]},
    }
    (source,) = task["InputSources"]
    assert (source["Source"]["Type"], source["Target"]) == ("inline", "/main.wasm")


def test_a_large_one_is_sent(here: Path) -> None:
    (here / "main.wasm").write_bytes(bytes(100_000))
    (source,) = job_of("main.wasm")["InputSources"]
    assert (source["Source"]["Type"], source["Target"]) == ("upload", "/main.wasm")


@pytest.mark.parametrize(
    ("text", "kind", "target"),
    [
        ("main.wasm:/app/custom.wasm", "inline", "/app/custom.wasm"),
        ("s3://bucket/a/main.wasm", "s3", "/main.wasm"),
        ("s3://bucket/main.wasm:/app/m.wasm", "s3", "/app/m.wasm"),
        ("https://example.com/x.wasm", "urlDownload", "/main.wasm"),
    ],
)
def test_a_module_comes_from_where_the_reference_takes_it(text: str, kind: str, target: str) -> None:
    task = job_of(text)
    (source,) = task["InputSources"]
    assert (source["Source"]["Type"], source["Target"]) == (kind, target)
    assert task["Engine"]["Params"]["EntryModule"] == target


def test_a_module_may_be_one_of_the_inputs() -> None:
    task = job_of("-i", "s3://bucket/app/:/app", "/app/main.wasm")
    assert [each["Target"] for each in task["InputSources"]] == ["/app"]
    assert task["Engine"]["Params"]["EntryModule"] == "/app/main.wasm"


def test_modules_are_imported() -> None:
    task = job_of("-I", "lib.wasm,/app/more.wasm", "-i", "s3://b/app/:/app", "--entry-point", "go", "main.wasm")
    params = task["Engine"]["Params"]
    assert (params["ImportModules"], params["Entrypoint"]) == (["/lib.wasm", "/app/more.wasm"], "go")
    assert [each["Target"] for each in task["InputSources"]] == ["/app", "/main.wasm", "/lib.wasm"]


@pytest.mark.parametrize(("module", "told"), [("missing.wasm", "There is no file"), (".", "is not a file")])
def test_what_is_no_module_of_this_machine_is_told(module: str, told: str) -> None:
    assert told in refusal(module)
