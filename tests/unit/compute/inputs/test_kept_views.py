"""Kept views: what removing one gives back."""

import os
from pathlib import Path

from compute.inputs.objects.kept_views import KeptViews

CONTENT = os.urandom(100_000)


def test_names_within_a_view_alone_are_its_own(tmp_path: Path) -> None:
    views = KeptViews(tmp_path)
    draft = views.draft()
    (draft / "view").mkdir()
    (draft / "view" / "one").write_bytes(CONTENT)
    (draft / "view" / "two").hardlink_to(draft / "view" / "one")
    note = views.keep(draft, "ab" * 32, b"", ())
    assert note.own_bytes == note.disk_bytes
    assert len(CONTENT) <= note.own_bytes < 2 * len(CONTENT)


def test_what_has_a_name_elsewhere_is_not_its_own(tmp_path: Path) -> None:
    views = KeptViews(tmp_path)
    (tmp_path / "cached").write_bytes(CONTENT)
    draft = views.draft()
    (draft / "view").mkdir()
    for name in ("one", "two"):
        (draft / "view" / name).hardlink_to(tmp_path / "cached")
    note = views.keep(draft, "ab" * 32, b"", ())
    assert note.own_bytes < len(CONTENT) <= note.disk_bytes < 2 * len(CONTENT)
