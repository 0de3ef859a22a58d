"""What a node removes at its start."""

import os
from pathlib import Path

from compute.journal.journal import Journal
from compute.journal.leftovers import DAMAGED, EXECUTIONS, MOST_DAMAGED, sweep


def test_what_belongs_to_no_execution_goes_and_all_else_stays(tmp_path: Path) -> None:
    kept = [tmp_path / "node.nkey", tmp_path / EXECUTIONS / "e-1" / "result" / "stdout"]
    left = [
        tmp_path / "node.nkey.new",
        tmp_path / EXECUTIONS / "e-1.json",
        tmp_path / EXECUTIONS / "not an execution" / "file",
    ]
    for path in (*kept, *left):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    sweep(tmp_path)
    assert all(path.exists() for path in kept)
    assert not any(path.exists() for path in left)
    assert sorted(path.name for path in (tmp_path / EXECUTIONS).iterdir()) == ["e-1"]


def test_a_link_goes_and_what_it_leads_to_stays(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    node = tmp_path / "compute"
    (node / EXECUTIONS).mkdir(parents=True)
    (node / EXECUTIONS / "not an execution").symlink_to(elsewhere)
    sweep(node)
    assert not list((node / EXECUTIONS).iterdir())
    assert elsewhere.exists()


def test_what_a_link_in_the_place_of_its_folder_leads_to_stays(tmp_path: Path) -> None:
    elsewhere, node = tmp_path / "elsewhere", tmp_path / "compute"
    (elsewhere / "photos").mkdir(parents=True)
    (elsewhere / "file").touch()
    node.mkdir()
    (node / EXECUTIONS).symlink_to(elsewhere)
    sweep(node)
    assert list(Journal(node / EXECUTIONS).recover()) == []
    assert sorted(path.name for path in elsewhere.iterdir()) == ["file", "photos"]


def test_of_what_could_not_be_read_the_last_stay(tmp_path: Path) -> None:
    for number in range(MOST_DAMAGED + 3):
        folder = tmp_path / DAMAGED / f"e-{number:02}"
        folder.mkdir(parents=True)
        os.utime(folder, (number, number))
    sweep(tmp_path)
    assert sorted(path.name for path in (tmp_path / DAMAGED).iterdir()) == [
        f"e-{number:02}" for number in range(3, MOST_DAMAGED + 3)
    ]


def test_a_node_that_was_never_started_has_nothing_to_remove(tmp_path: Path) -> None:
    sweep(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_workspace_that_belongs_to_no_journal_entry_goes_at_the_start(tmp_path: Path) -> None:
    workspace = tmp_path / EXECUTIONS / "e-1" / "workspace"
    workspace.mkdir(parents=True)
    (workspace / "large").write_bytes(b"x")
    sweep(tmp_path)
    assert list(Journal(tmp_path / EXECUTIONS).recover()) == []
    assert list((tmp_path / EXECUTIONS).iterdir()) == []
