"""Whatever names a target takes for the same, no entry is replaced by another one, and none is lost in silence.

Only a system that folds names itself could be a real one here (test_odd_targets.py has exfat), so that the calls of the
system get folded names, as a file system does that stores all names in one form.
"""

import io
import os
import tempfile
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.extraction.extract import Extracted, extract
from shared.extraction.oddities import Odd
from shared.extraction.placement_rules import PlacementRules
from tests.unit.shared.extraction.test_extract import Entry, file, folder, gzipped, hard_link

Fold = Callable[[str], str]
FOLDS: dict[str, Fold] = {
    "decomposed, as HFS+": lambda name: unicodedata.normalize("NFD", name),
    "composed": lambda name: unicodedata.normalize("NFC", name),
    "without case": str.casefold,
    "compatible and without case": lambda name: unicodedata.normalize("NFKD", name).casefold(),
    "without dots at the end, as FAT": lambda name: name.rstrip(".") or name,
}
_CALLS = ("open", "mkdir", "stat", "unlink", "utime")


@contextmanager
def folding(fold: Fold) -> Iterator[None]:
    """All names that are looked up in an open directory are folded."""

    def folded(name: Any) -> Any:
        return os.fsencode(fold(os.fsdecode(name)))

    def patched(act: Callable[..., Any]) -> Callable[..., Any]:
        return lambda name, *rest, dir_fd=None, **options: act(
            name if dir_fd is None else folded(name), *rest, dir_fd=dir_fd, **options
        )

    link = os.link
    with pytest.MonkeyPatch.context() as patch:
        for call in _CALLS:
            patch.setattr(os, call, patched(getattr(os, call)))
        patch.setattr(os, "link", lambda source, name, **options: link(folded(source), folded(name), **options))
        yield


def unpack(entries: list[Entry], target: Path, fold: Fold, *, rename_collisions: bool) -> Extracted:
    rules = PlacementRules(rename_collisions=rename_collisions)
    with folding(fold):
        return extract(io.BytesIO(gzipped(*entries)), target, max_bytes=10**6, max_entries=100, rules=rules)


def contents(target: Path) -> list[bytes]:
    return sorted(path.read_bytes() for path in target.rglob("*") if path.is_file())


NAMES = st.lists(
    st.sampled_from(
        [
            "e\u0301",
            "\u00e9",
            "\u00c9",
            "E\u0301",
            "a",
            "A",
            "a.",
            "\ufb01",
            "fi",
            "FI",
            "\u00df",
            "ss",
            "a~2",
            "\u212b",
            "\u00c5",
        ]
    ),
    min_size=1,
    max_size=10,
    unique=True,
)
FOLDERS = st.sampled_from(["", "d-a/", "d-A/", "d-a./", "d-\u00e9/", "d-e\u0301/"])


@pytest.mark.parametrize("fold", FOLDS.values(), ids=FOLDS)
@settings(deadline=None, max_examples=40)
@given(names=st.lists(st.tuples(FOLDERS, NAMES), min_size=1, max_size=4))
def test_each_entry_is_there_as_it_was_or_told(fold: Fold, names: list[tuple[str, list[str]]]) -> None:
    paths = sorted({f"{parent}{name}" for parent, some in names for name in some})
    entries = [file(path, path.encode()) for path in paths]
    with tempfile.TemporaryDirectory() as scratch:
        extracted = unpack(entries, Path(scratch, "out"), fold, rename_collisions=False)
        found = contents(Path(scratch, "out"))
        told = sorted(each.path.encode() for each in extracted.oddities.named)
        assert sorted([*found, *told]) == sorted(path.encode() for path in paths)
        assert extracted.files == len(found)
        assert set(extracted.oddities.counts) <= {Odd.NAME_COLLIDES}

        renamed = unpack(entries, Path(scratch, "renamed"), fold, rename_collisions=True)
        assert contents(Path(scratch, "renamed")) == sorted(path.encode() for path in paths)
        assert renamed.files == len(paths)
        assert set(renamed.oddities.counts) <= {Odd.RENAMED}


@pytest.mark.parametrize("fold", FOLDS.values(), ids=FOLDS)
@pytest.mark.parametrize("rename_collisions", [False, True])
def test_a_folder_of_which_the_target_changes_the_name_is_filled(
    tmp_path: Path, fold: Fold, *, rename_collisions: bool
) -> None:
    entries = [
        folder("\u00c9."),
        file("\u00c9./a", b"a"),
        hard_link("\u00c9./b", "\u00c9./a"),
        folder("\u00c9./A"),
        file("\u00c9./c"),
    ]
    extracted = unpack(entries[:3], tmp_path, fold, rename_collisions=rename_collisions)
    assert contents(tmp_path) == [b"a", b"a"]
    assert extracted.oddities.named == []


def test_after_many_names_the_hard_links_to_what_is_there_are_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.extraction.placed_names.MAX_COMPARED", 40)
    entries = [file("A", b"A"), file("a", b"a"), *(file(f"f{number}", b"f") for number in range(20))]
    links = [hard_link("to-lost", "a"), *(hard_link(f"l{number}", "A") for number in range(10))]
    extracted = unpack([*entries, *links], tmp_path, str.casefold, rename_collisions=False)
    assert [(each.code, each.path) for each in extracted.oddities.named] == [
        (Odd.NAME_COLLIDES, "a"),
        (Odd.HARD_LINK_LEFT_OUT, "to-lost"),
    ]
    assert (tmp_path / "l9").samefile(tmp_path / "a")


@pytest.mark.parametrize("fold", FOLDS.values(), ids=FOLDS)
def test_a_folder_does_not_take_the_place_of_a_file_nor_a_file_that_of_a_folder(tmp_path: Path, fold: Fold) -> None:
    for first, second in (("a", "A"), ("\u00e9", "e\u0301"), ("x", "x."), ("fi", "\ufb01")):
        for number, (one, other) in enumerate([(first, second), (second, first)]):
            target = tmp_path / f"{ord(first[0])}-{number}"
            target.mkdir()
            entries = [
                file(one, b"file"),
                folder(other),
                file(f"{other}/below", b"below"),
                folder("d"),
                file("d/f", b"f"),
            ]
            extracted = unpack(entries, target, fold, rename_collisions=False)
            lost = {each.path for each in extracted.oddities.named}
            assert lost in (set(), {other, f"{other}/below"})
            assert contents(target) == sorted([b"file", b"f", *([] if lost else [b"below"])])
            assert bool(lost) == (fold(one) == fold(other))
