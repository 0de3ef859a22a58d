"""The commit of a checkout is found in each way in which git writes it down, without git."""

from pathlib import Path

import pytest

from shared.runtime.commit import commit, of_checkout

HASH, OTHER = "a" * 40, "b" * 40


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_a_commit_that_is_checked_out_by_itself_is_told(tmp_path: Path) -> None:
    write(tmp_path / ".git" / "HEAD", f"{HASH}\n")
    assert of_checkout(tmp_path) == HASH


def test_the_commit_of_a_branch_is_told(tmp_path: Path) -> None:
    write(tmp_path / ".git" / "HEAD", "ref: refs/heads/main\n")
    assert of_checkout(tmp_path) == ""
    write(tmp_path / ".git" / "packed-refs", f"# pack-refs\n{OTHER} refs/heads/mainly\n{HASH} refs/heads/main\n")
    assert of_checkout(tmp_path) == HASH
    write(tmp_path / ".git" / "refs" / "heads" / "main", f"{OTHER}\n")
    assert of_checkout(tmp_path) == OTHER


def test_the_commit_of_a_further_work_tree_is_told(tmp_path: Path) -> None:
    tree, common = tmp_path / "tree", tmp_path / "main" / ".git"
    write(tree / ".git", f"gitdir: {common}/worktrees/tree\n")
    write(common / "worktrees" / "tree" / "HEAD", "ref: refs/heads/other\n")
    write(common / "worktrees" / "tree" / "commondir", "../..\n")
    write(common / "refs" / "heads" / "other", f"{HASH}\n")
    assert of_checkout(tree) == HASH


@pytest.mark.parametrize("head", ["", "no hash", "ref: refs/heads/none", "\udcff"])
def test_what_is_no_checkout_has_none(tmp_path: Path, head: str) -> None:
    assert of_checkout(tmp_path) == ""
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "HEAD").write_bytes(head.encode("utf-8", "surrogateescape"))
    assert of_checkout(tmp_path) == ""


def test_this_program_is_of_the_commit_of_its_checkout() -> None:
    assert commit() == of_checkout(Path(__file__).parents[4])
