"""How far an upload is follows from what was packed and what was sent, and is told once it takes long."""

from pathlib import Path

import pytest

from compute.archive.part_size import MOST_MEASURED, content_bytes
from compute.upload.meter import TOLD_AFTER_SECONDS, UploadMeter

LONG = TOLD_AFTER_SECONDS


class Metered:
    """An upload whose archive is half as large as what is packed, with a clock that moves when a test says so."""

    def __init__(self, *, total: int = 0) -> None:
        self.now = 0.0
        self.packed_bytes = 0
        self.meter = UploadMeter(clock=lambda: self.now)
        self.meter.begin(lambda: (2 * self.packed_bytes, self.packed_bytes), total)

    def told(self, at: float) -> tuple[int, int, int] | None:
        self.now = at
        return self.meter.how_far()


class Body:
    def __init__(self, sent_bytes: int) -> None:
        self.sent_bytes = sent_bytes


def test_what_is_quick_is_not_told() -> None:
    metered = Metered(total=1000)
    assert metered.told(LONG - 0.1) is None
    assert metered.told(LONG) == (0, 1000, 0)
    assert UploadMeter().how_far() is None


def test_what_is_packed_counts_as_far_as_it_is_sent() -> None:
    metered = Metered(total=4000)
    metered.packed_bytes = 1000
    metered.meter.stored(500)
    assert metered.told(LONG) == (1000, 4000, int(1000 / LONG))
    with metered.meter.sending(Body(250)):
        assert metered.told(LONG + 1) == (1500, 4000, 500)
    assert metered.told(LONG + 1) == (1000, 4000, 0)


def test_the_rate_is_that_of_the_last_seconds() -> None:
    metered = Metered()
    metered.packed_bytes = 10**9
    for second in range(100):
        metered.meter.stored(1000 if second < 50 else 10)
        metered.told(LONG + second)
    told = metered.told(LONG + 100)
    assert told is not None
    assert told[2] in range(15, 25)


def test_what_is_not_known_is_0_and_more_than_all_is_never_done() -> None:
    metered = Metered()
    metered.packed_bytes = 100
    metered.meter.stored(300)
    assert metered.told(LONG) == (200, 0, 100)
    metered.meter.total_bytes = 150
    assert metered.told(LONG) == (200, 200, 0)


def test_an_upload_that_begins_anew_has_sent_nothing() -> None:
    metered = Metered(total=10)
    metered.packed_bytes = 10
    metered.meter.stored(10)
    metered.now = 50.0
    metered.meter.begin(lambda: (10, 10), 10)
    assert metered.told(50.0 + LONG) == (0, 10, 0)


def test_so_many_files_are_measured_and_no_more(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "a").write_bytes(b"x" * 100)
    (tmp_path / "folder" / "b").write_bytes(b"x" * 11)
    (tmp_path / "link").symlink_to("a")
    assert content_bytes(tmp_path) == 111
    assert content_bytes(tmp_path / "none") == 0


@pytest.mark.parametrize(("more", "known"), [(0, True), (1, False)])
def test_of_too_many_files_the_size_is_not_known(tmp_path: Path, *, more: int, known: bool) -> None:
    (tmp_path / "a").write_bytes(b"x" * 100)
    for number in range(MOST_MEASURED - 1 + more):
        (tmp_path / f"{number}").touch()
    assert content_bytes(tmp_path) == (100 if known else 0)
