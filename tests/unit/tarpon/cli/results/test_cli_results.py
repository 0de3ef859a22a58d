"""How far a download is, in words, and how the files of a result are listed."""

import json
from datetime import UTC, datetime

import pytest
import yaml

from shared.extraction.tar_reader import Member, MemberKind
from tarpon.cli.console.progress import DownloadPace, download_text
from tarpon.cli.results.files import _Writer
from tarpon.results.files import ResultEntry, _entry

MIB = 1 << 20
THEN = datetime(2023, 11, 14, 12, tzinfo=UTC)
ENTRIES = [
    ResultEntry(path="outputs", type="directory", mode="0750", modified=THEN),
    ResultEntry(path="outputs/a\x1b\n", type="file", size=5 * MIB, mode="4644", modified=THEN),
    ResultEntry(path="l", type="symlink", mode="0777", modified=THEN, target="outputs"),
]


def test_a_download_tells_its_share_its_rate_and_the_time_that_is_left() -> None:
    assert download_text(MIB, 4 * MIB, MIB) == " 25 %  1.0 MiB of 4.0 MiB  1.0 MiB/s  0:00:03 left"
    assert download_text(4 * MIB, 4 * MIB, MIB) == "100 %  4.0 MiB of 4.0 MiB  1.0 MiB/s"
    assert download_text(0, 4 * MIB, 0) == "  0 %  0 B of 4.0 MiB"
    assert download_text(0, 0, 0) == "0 B of 0 B"


def test_what_an_earlier_try_has_left_does_not_count_for_the_rate() -> None:
    pace = DownloadPace()
    pace.add(100.0, 500 * MIB)
    assert pace.bytes_per_second() == 0
    pace.add(102.0, 504 * MIB)
    assert pace.bytes_per_second() == 2 * MIB


def test_the_rate_is_that_of_the_last_seconds() -> None:
    pace = DownloadPace()
    for second in range(20):
        pace.add(float(second), second * 10 * MIB if second < 10 else 90 * MIB + (second - 9) * MIB)
    assert pace.bytes_per_second() == MIB


def written(output: str, *, is_long: bool = False, capsys: pytest.CaptureFixture[str]) -> str:
    writer = _Writer(output, is_long=is_long)
    writer.write(ENTRIES[:2])
    writer.write(ENTRIES[2:])
    writer.end()
    return capsys.readouterr().out


def test_files_are_listed_one_a_line_without_what_could_steer_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert written("table", capsys=capsys) == "outputs/\noutputs/a\\x1b\\n\nl\n"


def test_files_are_listed_at_length(capsys: pytest.CaptureFixture[str]) -> None:
    lines = written("table", is_long=True, capsys=capsys).splitlines()
    assert lines[0].split() == ["MODE", "SIZE", "MODIFIED", "PATH"]
    assert [line.split()[0] for line in lines[1:]] == ["drwxr-x---", "-rw-r--r--", "lrwxrwxrwx"]
    assert "   5.0 MiB  2023-11-14 " in lines[2]
    assert lines[3].endswith("  l -> outputs")


def test_programs_get_the_same_list_as_json_and_as_yaml(capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(written("json", capsys=capsys))
    assert [each["Path"] for each in found] == ["outputs", "outputs/a\x1b\n", "l"]
    assert yaml.safe_load(written("yaml", capsys=capsys)) == found
    for output in ("json", "yaml"):
        _Writer(output, is_long=False).end()
        assert capsys.readouterr().out == "[]\n"


@pytest.mark.parametrize("mtime_ns", [-(10**21), 10**21])
def test_an_entry_may_have_any_time_and_a_name_that_is_no_text(mtime_ns: int) -> None:
    member = Member(
        kind=MemberKind.FIFO,
        name=b"a\xff",
        link_target=b"",
        size_bytes=0,
        mode=0o600,
        mtime_ns=mtime_ns,
    )
    entry = _entry(member)
    assert (entry.path, entry.path_base64, entry.type, entry.mode) == ("a\ufffd", "Yf8=", "other", "0600")
    assert entry.modified.year in {1, 9999}
