"""Which programs that a job brings the kernel can run."""

import errno
import os
import sys
from pathlib import Path

import pytest

from compute.engines.process.program_format import check_format


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    made = tmp_path / "workspace"
    made.mkdir()
    return made


def program(folder: Path, content: bytes, mode: int = 0o755) -> str:
    path = folder / "program"
    path.write_bytes(content)
    path.chmod(mode)
    return "./program"


def test_a_script_and_a_program_of_this_machine_are_fine(workspace: Path) -> None:
    check_format(program(workspace, b"#!/bin/sh\n"), workspace, workspace)
    own = Path(os.path.realpath(sys.executable)).read_bytes()[:64]
    check_format(program(workspace, own), workspace, workspace)


def test_what_is_neither_is_told_before_a_shell_reads_it(workspace: Path) -> None:
    with pytest.raises(OSError, match="format") as refused:
        check_format(program(workspace, b"\0\0"), workspace, workspace)
    assert refused.value.errno == errno.ENOEXEC


def test_nothing_is_said_of_what_the_kernel_itself_refuses(workspace: Path) -> None:
    check_format(program(workspace, b"\0\0", mode=0o644), workspace, workspace)
    check_format("./none", workspace, workspace)
    (workspace / "link").symlink_to("/etc/shadow")
    check_format("./link", workspace, workspace)
    check_format("true", workspace, workspace)


def test_only_the_workspace_is_looked_into(workspace: Path) -> None:
    program(workspace.parent, b"\0\0")
    check_format("../program", workspace, workspace)
    check_format(f"{workspace.parent}/program", workspace, workspace)
