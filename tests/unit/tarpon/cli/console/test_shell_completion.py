"""How what was typed in bash is read, and how names are written so that they stay one word there."""

import gzip
import io
import json
import shlex
import tarfile
from typing import Any

import click
import pytest
from click.shell_completion import CompletionItem
from hypothesis import given
from hypothesis import strategies as st

from tarpon.cli.console.shell_completion import Bash, Typed, Zsh, bash_word, typed
from tarpon.results import quick_listing

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
    assert "!" in name or typed('tarpon "' + bash_word(name, '"'), "")[:3] == (["tarpon"], name, '"')
    assert bash_word(name, "'") == ("" if "'" in name else name)


def test_an_exclamation_mark_which_would_recall_a_line_is_hidden_or_not_offered() -> None:
    assert bash_word("a!b", "") == r"a\!b"
    assert bash_word("a!b", "'") == "a!b"
    assert bash_word("a!b", '"') == ""


def offering(*names: str) -> click.Command:
    """A command that completes these names."""
    offered = [CompletionItem(each) for each in names]
    return click.Command("tarpon", params=[click.Argument(["name"], shell_complete=lambda *_: offered)])


def test_the_script_of_earlier_versions_for_bash_is_told_only_words_that_need_no_quoting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COMP_WORDS", "tarpon ")
    monkeypatch.setenv("COMP_CWORD", "1")
    command = offering("outputs/a-1.csv", "$(echo x)", "a;b", "a b", "a*", "~a", "a!b", "`a`", "a\nplain,b", "übung")
    assert Bash(command, {}, "tarpon", "_TARPON_COMPLETE").complete() == "plain,outputs/a-1.csv\nplain,übung"


def test_a_name_with_a_line_break_or_a_control_character_is_never_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    command = offering("a\nb", "a\rb", "a\x1bb", "a\tb", "ab")
    monkeypatch.setenv("_TARPON_LINE", "tarpon a")
    assert Bash(command, {}, "tarpon", "_TARPON_COMPLETE").complete() == "plain\nab"
    monkeypatch.setenv("_TARPON_WORDS", "1")
    monkeypatch.setattr("sys.argv", ["tarpon", "a"])
    assert Zsh(command, {}, "tarpon", "_TARPON_COMPLETE").complete() == "plain\nplain\tab\tab"


def listed(monkeypatch: pytest.MonkeyPatch, content: bytes, **params: Any) -> list[str]:
    monkeypatch.setattr(quick_listing, "fetched", lambda _url, _context: content)
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
