"""What a node and an orchestrator say of the files that keep who they are, when somebody has changed them."""

from pathlib import Path

import pytest

from compute.uplink.identity import load_identity
from compute.upload.journal import UploadJournal
from orchestrator.data_folder import kept_name
from shared.errors import Damaged

WRONG = [b"{", b"[]", b'{"id": 5}', b'{"id": "a b"}', b'{"id": "\xff"}', b"\xff\xfe"]


@pytest.mark.parametrize("content", WRONG)
def test_a_node_says_which_file_does_not_hold_its_id(tmp_path: Path, content: bytes) -> None:
    kept = load_identity(tmp_path, "puuid").node_id
    (file,) = (path for path in tmp_path.iterdir() if kept in path.read_text())
    file.write_bytes(content)
    with pytest.raises(Damaged, match="does not hold a node's id"):
        load_identity(tmp_path, "puuid")


def test_an_orchestrator_keeps_its_name(tmp_path: Path) -> None:
    assert kept_name(tmp_path / "name") == kept_name(tmp_path / "name")


@pytest.mark.parametrize("content", [b"two words", b"a.b", b"*", b"\xff", b"x" * 65])
def test_an_orchestrator_says_which_file_does_not_hold_its_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "name").write_bytes(content)
    with pytest.raises(Damaged, match="does not hold an orchestrator's name"):
        kept_name(tmp_path / "name")


@pytest.mark.parametrize("content", [b"", b"[]\n", b'{"upload_id": 5}\n', b'{"upload_id": "\xff"}\n'])
def test_an_upload_whose_journal_was_changed_begins_anew(tmp_path: Path, content: bytes) -> None:
    journal = UploadJournal(tmp_path)
    journal.begin("u-1", 8 << 20)
    (file,) = tmp_path.iterdir()
    file.write_bytes(content)
    assert journal.read() is None
