"""The example of a workflow tool: Snakemake's rules run on the nodes of a real stack, and their files come back."""

import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

from tarpon.pytest_plugin import TarponStack
from tests.documents import ROOT
from tests.environments import Environment

EXAMPLE = ROOT / "examples" / "snakemake"
FAILING = """
rule fails:
    output: "made.txt"
    shell: "echo what went wrong >&2; exit 7"
"""
LOCAL = """
rule script:
    output: "made.txt"
    run: open(output[0], "w").close()
"""


@cache
def workflows_python() -> Path:
    return Environment("workflows").made_beside_ours("snakemake>=9.9")


def snakemake(stack: TarponStack, folder: Path, *, jobs: int = 4) -> subprocess.CompletedProcess[str]:
    command = [str(workflows_python()), "-m", "snakemake", "--executor", "tarpon", "--jobs", str(jobs)]
    command += ["--seconds-between-status-checks", "0", "--latency-wait", "0"]
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "PYTHONPATH": f"{EXAMPLE}:{ROOT}"}
    return subprocess.run(
        command,
        cwd=folder,
        env=environment | stack.environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_rules_run_on_nodes_and_what_they_write_comes_back(tarpon_stack: TarponStack, tmp_path: Path) -> None:
    shutil.copy(EXAMPLE / "Snakefile", tmp_path)
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "ada.txt").write_text("three words here")
    (tmp_path / "texts" / "grace.txt").write_text("four words are here")
    done = snakemake(tarpon_stack, tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "report" / "all.txt").read_text() == "7\n"
    assert (tmp_path / "logs" / "ada.txt").read_text() == "counted ada\n"
    with tarpon_stack.client() as client:
        jobs = client.list(labels="snakemake.rule in (count,sum)").items
        assert [str(job.status) for job in jobs] == ["Completed"] * 3
    assert "Nothing to be done" in snakemake(tarpon_stack, tmp_path).stderr


@pytest.mark.parametrize(
    ("rules", "told"), [(FAILING, "what went wrong"), (LOCAL, "only rules with `shell`")], ids=["fails", "no shell"]
)
def test_a_rule_that_cannot_be_run_tells_why(tarpon_stack: TarponStack, tmp_path: Path, rules: str, told: str) -> None:
    (tmp_path / "Snakefile").write_text(rules)
    done = snakemake(tarpon_stack, tmp_path)
    assert done.returncode == 1
    assert told in done.stderr
    assert not (tmp_path / "made.txt").exists()
