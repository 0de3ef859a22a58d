"""Small files are written into their places, and what is in the way there is replaced."""

import hashlib
import os
from pathlib import Path

from compute.inputs.objects.small.files import SmallFile, SmallFiles


def test_files_are_written_that_are_what_their_digests_say(tmp_path: Path) -> None:
    digest = hashlib.sha256(b"right").hexdigest().upper()
    files = [
        SmallFile(f"{tmp_path}/aa/1", b"any"),
        SmallFile(f"{tmp_path}/aa/2", b"right", digest),
        SmallFile(f"{tmp_path}/bb/3", b"wrong", digest),
    ]
    assert SmallFiles().write_right(files) == [True, True, False]
    assert {path.name: path.read_bytes() for path in tmp_path.rglob("?")} == {"1": b"any", "2": b"right"}


def test_what_was_left_in_the_way_is_replaced_and_stays_under_its_other_name(tmp_path: Path) -> None:
    left, other = tmp_path / "left", tmp_path / "other"
    left.write_bytes(b"le")
    os.link(left, other)
    SmallFiles().write(SmallFile(str(left), b"whole"))
    assert (left.read_bytes(), other.read_bytes()) == (b"whole", b"le")
