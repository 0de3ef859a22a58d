"""Whether Tarpon runs where a folder is called `shared`, as its own package is, and says so where it cannot."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tarpon.devstack.dies_with_parent import tied_command

NAMES = ("shared", "compute", "orchestrator")
SCRIPT = str(Path(sys.executable).with_name("tarpon"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of somebody whose own packages have our names, and end whatever imports them."""
    for name in NAMES:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('a package of somebody else was imported')\n")
    return tmp_path


def run(command: list[str], folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=folder, env=os.environ | variables, capture_output=True, text=True, timeout=100, check=False
    )


def program(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    (folder / "program.py").write_text(text)
    return run([sys.executable, "program.py"], folder)


@pytest.mark.parametrize("command", [[SCRIPT], [sys.executable, "-m", "tarpon"]], ids=["script", "module"])
def test_commands_work_beside_packages_of_our_names(command: list[str], folder: Path) -> None:
    done = run([*command, "version", "--client"], folder)
    assert (done.returncode, done.stderr) == (0, "")
    done = run([*command, "node", "token", "show", "-c", f"DataDir={folder / 'data'}"], folder)
    assert "No orchestrator has run with" in done.stderr, "that is told by a module of the orchestrator"


def test_a_devstack_runs_beside_packages_of_our_names(folder: Path) -> None:
    (folder / "shared").rename(folder / "tarpon")
    stack = [SCRIPT, "devstack", "--computes", "1", "--random-ports"]
    done = run([*stack, "--", "tarpon", "node", "list"], folder)
    assert done.returncode == 0, done.stderr
    assert "compute-1" in done.stdout


def test_a_process_that_dies_with_its_parent_starts_beside_packages_of_our_names(folder: Path) -> None:
    (folder / "shared").rename(folder / "tarpon")
    done = run(tied_command(["echo", "started"], signal.SIGTERM), folder)
    assert (done.stdout, done.stderr) == ("started\n", "")


def test_a_program_beside_another_package_shared_is_told_which_one_is_in_the_way(folder: Path) -> None:
    done = program(folder, "import tarpon\n")
    assert done.returncode == 1
    told = done.stderr.splitlines()[-1]
    assert told.startswith("ImportError: Tarpon cannot import its own package 'shared' (")
    assert f"because Python finds {folder}/shared/__init__.py first" in told
    assert "rename that one, or start Python so that it does not look there first" in told


def test_a_program_that_has_imported_another_module_shared_is_told_the_same(folder: Path) -> None:
    (folder / "shared" / "__init__.py").unlink()
    (folder / "shared.py").touch()
    done = program(folder, "import shared, tarpon\n")
    assert f"because Python finds {folder}/shared.py first" in done.stderr.splitlines()[-1]


def test_a_program_that_has_made_a_module_shared_is_told_the_same(tmp_path: Path) -> None:
    text = "import sys, types\nsys.modules['shared'] = types.ModuleType('shared')\nimport tarpon\n"
    assert "finds a module 'shared' that the program has made first" in program(tmp_path, text).stderr


def test_a_program_may_have_packages_called_as_those_that_only_services_need(folder: Path) -> None:
    (folder / "shared" / "__init__.py").unlink()  # a folder without it is no package beside one that has it
    done = program(folder, "import tarpon\nprint(tarpon.Client('127.0.0.1', 9))\n")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_program_runs_beside_another_package_shared_where_python_does_not_look_there(folder: Path) -> None:
    (folder / "program.py").write_text("import tarpon\ntarpon.Client\n")
    done = run([sys.executable, "-P", "program.py"], folder)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("package", "command"),
    [("compute", "serve --compute"), ("orchestrator", "serve"), ("orchestrator", "agent nats-config")],
)
def test_a_command_whose_service_is_found_elsewhere_says_so(package: str, command: str, tmp_path: Path) -> None:
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").touch()
    done = run([SCRIPT, *command.split(), "-c", f"DataDir={tmp_path}"], tmp_path, PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    assert f"because Python finds {tmp_path}/{package}/__init__.py first" in done.stderr
    assert "[ImportNameTaken]" in done.stderr
