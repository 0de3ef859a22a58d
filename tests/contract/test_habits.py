"""What those who join the project rely on says the same in each place."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
VERSION = PROJECT["project"]["version"]


def test_pre_commit_runs_what_make_check_runs() -> None:
    recipe = re.search(r"^check:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert recipe is not None
    checks = [line.removeprefix("\t@").replace("$(RUN)", ".venv/bin") for line in recipe[1].splitlines()]
    read = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    assert [hook["entry"] for repo in read["repos"] for hook in repo["hooks"]] == checks


def test_pre_commit_fetches_nothing() -> None:
    read = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    assert [repo["repo"] for repo in read["repos"]] == ["local"]
    assert {hook["language"] for repo in read["repos"] for hook in repo["hooks"]} == {"system"}


def test_a_citation_names_the_version_that_is_here() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert str(cited["version"]) == VERSION


def test_the_minor_version_that_is_here_gets_security_fixes() -> None:
    minor = VERSION.rpartition(".")[0]
    assert re.search(rf"^\| {re.escape(minor)} +\| yes +\|$", (ROOT / "SECURITY.md").read_text(), re.MULTILINE)


def test_a_release_is_not_made_where_a_python_is_missing_that_it_has_to_run_with() -> None:
    command = [sys.executable, "-m", "tests.release", "3.0"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "Python 3.0 is not here, and a release has to be tried with it." in done.stderr


def test_an_sdist_leaves_out_the_tests_whose_folders_have_the_names_of_packages() -> None:
    assert "/tests" in PROJECT["tool"]["hatch"]["build"]["exclude"]
