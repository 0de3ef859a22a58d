"""The notes of views that nodes keep can be read by the versions that follow: what is written here never changes."""

from pathlib import Path

import pytest

from compute.disk.view_notes import Unpacked, ViewNote, read_note

NOTES = [
    (b'{"view":"ab","disk_bytes":5,"own_bytes":4}', ViewNote(view="ab", disk_bytes=5, own_bytes=4)),
    (
        b'{"view":"ab","disk_bytes":5,"own_bytes":4,"unpacked":[[7,8]]}',
        ViewNote(view="ab", disk_bytes=5, own_bytes=4, unpacked=(Unpacked(7, 8),)),
    ),
    (
        b'{"view":"ab","disk_bytes":5,"own_bytes":4,"unpacked":[[7,8,1,["a"]]]}',
        ViewNote(view="ab", disk_bytes=5, own_bytes=4, unpacked=(Unpacked(7, 8, 1, ("a",)),)),
    ),
]


@pytest.mark.parametrize(("written", "note"), NOTES)
def test_a_note_is_read_as_it_was_meant(tmp_path: Path, written: bytes, note: ViewNote) -> None:
    (tmp_path / "note").write_bytes(written)
    assert read_note(tmp_path / "note") == note
