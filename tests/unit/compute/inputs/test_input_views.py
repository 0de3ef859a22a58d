"""What a task sees of its inputs takes no more room than it may fill."""

import os
from pathlib import Path

import pytest

from compute.inputs.failures import InputFailed
from compute.inputs.objects.room import UnpackedRoom
from compute.inputs.objects.unpacking import unpack_result
from compute.inputs.objects.views import InputViews, ViewedFile
from compute.inputs.places import InputPlace
from shared.jobs.spec import InputSource, SpecConfig
from shared.jobs.states import FailureReason
from tests.unit.shared.extraction.test_extract import file, gzipped

LIMIT_BYTES = 1 << 20


def test_results_of_several_parts_fill_together_what_one_may_fill(tmp_path: Path) -> None:
    archive = tmp_path / "archive.tar.gz"
    archive.write_bytes(gzipped(file("part.bin", os.urandom(LIMIT_BYTES * 2 // 3))))
    source = InputSource(source=SpecConfig(type="result"), target="/in")
    place = InputPlace(0, source, tmp_path / "in", is_mounted=True)
    one, other = (
        ViewedFile(place=place, path=path, cached=os.fspath(archive), size=archive.stat().st_size, archive=True)
        for path in ("0", "1")
    )
    views = InputViews(unpack_result, UnpackedRoom(LIMIT_BYTES))
    assert views.add([one], lambda: False) == []
    with pytest.raises(InputFailed) as caught:
        views.add([other], lambda: False)
    assert caught.value.reason is FailureReason.INPUT_TOO_LARGE
