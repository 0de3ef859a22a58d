"""What a node remembers of an upload in parts."""

import logging
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

from compute.archive.levels import Switch, Told
from compute.upload.journal import FILE, BegunUpload, StoredPart, UploadJournal

ONE, TWO, THREE = (StoredPart(number=number, md5=f"m{number}", etag=f"e{number}") for number in (1, 2, 3))


@pytest.fixture
def journal(tmp_path: Path) -> UploadJournal:
    return UploadJournal(tmp_path)


def test_nothing_was_begun_where_there_is_no_file(journal: UploadJournal) -> None:
    assert journal.read() is None


def test_what_was_written_is_read_in_any_order_of_the_parts(journal: UploadJournal, tmp_path: Path) -> None:
    journal.begin("u-1", 100)
    for part in (TWO, ONE, THREE):
        journal.add(part)
    assert UploadJournal(tmp_path).read() == BegunUpload("u-1", 100, {1: ONE, 2: TWO, 3: THREE})


def test_another_upload_forgets_the_parts_of_the_one_before(journal: UploadJournal) -> None:
    journal.begin("u-1", 100)
    journal.add(ONE)
    journal.begin("u-2", 200)
    assert journal.read() == BegunUpload("u-2", 200, {})


def test_the_last_word_about_a_part_counts(journal: UploadJournal) -> None:
    journal.begin("u-1", 100)
    again = StoredPart(number=1, md5="other", etag="other")
    for part in (ONE, again):
        journal.add(part)
    assert journal.read() == BegunUpload("u-1", 100, {1: again})


def test_a_line_that_was_being_written_does_not_count_and_spoils_no_more_than_the_next_one(
    journal: UploadJournal, tmp_path: Path
) -> None:
    journal.begin("u-1", 100)
    for part in (ONE, TWO):
        journal.add(part)
    whole = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(whole[:-10])
    assert journal.read() == BegunUpload("u-1", 100, {1: ONE})
    journal.add(TWO)
    journal.add(THREE)
    assert journal.read() == BegunUpload("u-1", 100, {1: ONE, 3: THREE})


@pytest.mark.parametrize("content", [b"", b"\n", b"{", b"\x00" * 100, b"[]\n", b'{"upload_id":"u-1"}\n'])
def test_a_journal_whose_first_line_is_damaged_counts_as_none(
    journal: UploadJournal, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / FILE).write_bytes(content)
    assert journal.read() is None


def test_only_the_user_of_the_node_can_read_it(journal: UploadJournal, tmp_path: Path) -> None:
    journal.begin("u-1", 100)
    journal.add(ONE)
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600


def fill_disk(folder: Path) -> None:
    """For the next file that is to be begun."""
    (folder / f"{FILE}.new").symlink_to("/dev/full")


def test_where_the_disk_is_full_the_upload_goes_on_without_being_noted(
    journal: UploadJournal, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fill_disk(tmp_path)
    journal.begin("u-1", 100)
    journal.add(ONE)
    journal.add(TWO)
    assert journal.read() is None
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "No space left on device" in record.getMessage()


def test_what_cannot_be_noted_of_another_upload_is_not_noted_as_one_of_the_upload_before(
    journal: UploadJournal, tmp_path: Path
) -> None:
    journal.begin("u-1", 100)
    journal.add(ONE)
    fill_disk(tmp_path)
    journal.begin("u-2", 100)
    journal.add(TWO)
    assert journal.read() == BegunUpload("u-1", 100, {1: ONE})


def test_when_there_is_room_again_the_next_beginning_is_noted(journal: UploadJournal, tmp_path: Path) -> None:
    fill_disk(tmp_path)
    journal.begin("u-1", 100)
    journal.begin("u-2", 100)
    journal.add(ONE)
    assert journal.read() == BegunUpload("u-2", 100, {1: ONE})


def test_a_journal_that_cannot_be_read_counts_as_none(journal: UploadJournal, tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()
    assert journal.read() is None
    journal.add(ONE)


def test_levels_come_before_the_parts_that_have_them_and_each_once(journal: UploadJournal, tmp_path: Path) -> None:
    journal.begin("u-1", 100)
    switches = [Switch(4, 6), Switch(9, 2)]
    journal.add(replace(TWO, blocks=12), switches)
    journal.add(replace(ONE, blocks=6), switches[:1])
    journal.add(replace(THREE, blocks=20), [*switches, Switch(15, 9)])
    read = UploadJournal(tmp_path).read()
    assert read is not None
    assert read.levels == Told(20, (Switch(4, 6), Switch(9, 2), Switch(15, 9)))
    assert (tmp_path / FILE).read_bytes().count(b'"level"') == 3


def test_levels_of_blocks_that_are_in_no_stored_part_do_not_count(journal: UploadJournal) -> None:
    journal.begin("u-1", 100)
    journal.add(replace(ONE, blocks=9), [Switch(4, 6), Switch(9, 2)])
    read = journal.read()
    assert read is not None
    assert read.levels == Told(9, (Switch(4, 6),))


def test_all_blocks_of_an_earlier_version_have_the_same_level(journal: UploadJournal) -> None:
    journal.begin("u-1", 100)
    journal.add(ONE)
    read = journal.read()
    assert read is not None
    assert read.levels == Told(sys.maxsize, ())
