"""How what was typed in bash is read, and how names are written so that they stay one word there."""

import gzip
import io
import json
import shlex
import tarfile
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tarpon import quick_listing
from tarpon.cli.shell_completion import Typed, bash_word, typed

BREAKS = " \t\n\"'@><=;|&(:"
"""As bash has it where nobody changed it."""


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("tarpon job ", Typed(["tarpon", "job"], "", "", 0)),
        ("tarpon job de", Typed(["tarpon", "job"], "de", "", 0)),
        (r"tarpon job cat a\ b", Typed(["tarpon", "job", "cat"], "a b", "", 0)),
        ('tarpon "a job" "b c', Typed(["tarpon", "a job"], "b c", '"', 0)),
        ("tarpon 'it", Typed(["tarpon"], "it", "'", 0)),
        ("tarpon team:train", Typed(["tarpon"], "team:train", "", 5)),
        (r"tarpon team\:train", Typed(["tarpon"], "team:train", "", 0)),
        ("tarpon 'team:train", Typed(["tarpon"], "team:train", "'", 0)),
        ("tarpon --output=js", Typed(["tarpon"], "--output=js", "", 9)),
        ('tarpon "" x', Typed(["tarpon", ""], "x", "", 0)),
        ('tarpon "a\\"b\\c', Typed(["tarpon"], 'a"b\\c', '"', 0)),
    ],
)
def test_what_was_typed_is_parted_as_bash_does_it(line: str, expected: Typed) -> None:
    assert typed(line, BREAKS) == expected


@given(st.text(st.characters(exclude_categories=("C", "Z")) | st.just(" "), min_size=1))
def test_a_name_is_one_word_whatever_is_in_it(name: str) -> None:
    assert shlex.split(bash_word(name, "")) == [name]
    assert typed(f"tarpon {bash_word(name, '')}", "")[:3] == (["tarpon"], name, "")
    assert typed('tarpon "' + bash_word(name, '"'), "")[:3] == (["tarpon"], name, '"')
    assert bash_word(name, "'") == ("" if "'" in name else name)


def listed(monkeypatch: pytest.MonkeyPatch, content: bytes, **params: Any) -> list[str]:
    monkeypatch.setattr(quick_listing, "fetched", lambda _: content)
    return quick_listing.listed(params)


def test_the_names_in_a_small_result_are_those_of_its_archive(monkeypatch: pytest.MonkeyPatch) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, kind in (("./", tarfile.DIRTYPE), ("outputs", tarfile.DIRTYPE), ("outputs/a b", tarfile.REGTYPE)):
            entry = tarfile.TarInfo(name)
            entry.type = kind
            archive.addfile(entry)
    assert listed(monkeypatch, packed.getvalue(), PreSignedURL="x") == ["outputs/", "outputs/a b"]


def test_the_names_in_a_large_result_are_those_of_its_index(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [
        {"kind": "index", "version": 1},
        {"kind": "directory", "path": "outputs", "mode": 0, "mtime": 0},
        {"kind": "file", "path": "outputs/a", "mode": 0, "mtime": 0},
        {"kind": "file", "path_base64": "/w==", "mode": 0, "mtime": 0},
        {"kind": "of later", "path": "not this"},
    ]
    content = gzip.compress("\n".join(map(json.dumps, lines)).encode())
    assert listed(monkeypatch, content, IndexURL="x") == ["outputs/", "outputs/a"]


@pytest.mark.parametrize(
    "content",
    [b"none", gzip.compress(b"none"), gzip.compress(bytes(range(256)) * 8)],
    ids=["no gzip", "no lines", "no text"],
)
def test_what_is_damaged_has_no_names(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    with pytest.raises((ValueError, LookupError)):
        listed(monkeypatch, content, IndexURL="x")
