"""What is written of the peers that Tarpon was tried with: nothing is green that was not seen."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import date
from pathlib import Path

import pytest

from tests.matrix import nats_versions, page, programs
from tests.matrix.cells import END, Cell, Check, Column, NotApplicable, NotHere, Outcome, Peer, column, merged, sentence
from tests.matrix.explanations import EXPLANATIONS

DAY = date(2026, 11, 29)
OK = Cell(outcome=Outcome.OK)
FAILS = Cell(outcome=Outcome.FAILS, note="It said 500.")


def seen(peer: str, **cells: Cell) -> Column:
    return Column(peer=peer, version="1.2", day=DAY, cells=cells)


def quiet(_: str) -> None: ...


def check(name: str, error: Exception | None = None, note: str | None = None) -> Check[str]:
    def carry_out(_: str) -> str | None:
        if error is not None:
            raise error
        return note

    return Check(name, carry_out)


@contextmanager
def bench() -> Iterator[str]:
    yield "bench"


def absent() -> str:
    raise NotHere("minio is not on PATH")


def test_each_check_has_a_cell_whatever_the_others_raise() -> None:
    checks = [
        check("good", note="seen"),
        check("bad", error=AssertionError("it said\n 500")),
        check("group", error=ExceptionGroup("many", [ValueError("the first")])),
        check("other", error=NotApplicable("it has none")),
        check("silent", error=TimeoutError()),
    ]
    found = column(Peer("peer", lambda: "1.2", bench), checks, DAY, quiet)
    assert found.cells == {
        "good": Cell(outcome=Outcome.OK, note="seen"),
        "bad": Cell(outcome=Outcome.FAILS, note="it said 500"),
        "group": Cell(outcome=Outcome.FAILS, note="the first"),
        "other": Cell(outcome=Outcome.NOT_APPLICABLE, note="it has none"),
        "silent": Cell(outcome=Outcome.FAILS, note="TimeoutError"),
        END: OK,
    }


def test_a_peer_that_is_not_here_has_no_green_cell_and_is_not_started() -> None:
    found = column(Peer("MinIO", absent, bench), [check("good")], DAY, quiet)
    assert (found.version, {cell.outcome for cell in found.cells.values()}) == ("", {Outcome.NOT_HERE})
    table = page.table([found], {})
    assert "| good | not here |" in table
    assert "ok" not in table


def test_a_server_that_does_not_start_fails_every_check() -> None:
    def broken() -> AbstractContextManager[str]:
        raise AssertionError("it does not start")

    found = column(Peer("peer", lambda: "1.2", broken), [check("one"), check("two")], DAY, quiet)
    assert found.cells == dict.fromkeys(("one", "two", END), Cell(outcome=Outcome.FAILS, note="it does not start"))


def test_a_table_has_a_line_for_each_check_and_tells_below_why_one_fails() -> None:
    columns = [seen("a", one=OK, two=FAILS), seen("b", one=Cell(outcome=Outcome.OK, note="PUT yes"))]
    assert page.table(columns, {("a", "two"): "It cannot."}) == (
        "| | a 1.2 (2026-11-29) | b 1.2 (2026-11-29) |\n"
        "|---|---|---|\n"
        "| one | ok | ok: PUT yes |\n"
        "| two | **fails** (1) |  |\n"
        "\n"
        "1. a, two: It said 500. It cannot."
    )


def test_of_two_servers_the_first_is_the_measure() -> None:
    columns = [seen("theirs", one=OK, two=OK, three=FAILS), seen("ours", one=OK, two=FAILS, three=OK)]
    assert page.shown("client", columns, {}).startswith("Of 2 commands that work with theirs, 1 work with ours.\n\n| |")
    assert page.shown("engines", columns, {}).startswith("| |")


def test_a_peer_that_leaves_something_fails_at_its_end_alone() -> None:
    @contextmanager
    def leaving() -> Iterator[str]:
        yield "bench"
        raise AssertionError("a log has a key")

    found = column(Peer("peer", lambda: "1.2", leaving), [check("one")], DAY, quiet)
    assert found.cells == {"one": OK, END: Cell(outcome=Outcome.FAILS, note="a log has a key")}


def test_what_fails_without_a_reason_is_found() -> None:
    columns = [seen("a", one=OK, two=FAILS), seen("b", two=FAILS)]
    assert page.unexplained(columns, {("b", "two"): "It cannot."}) == [("a", "two")]
    assert page.UNEXPLAINED in page.table(columns, {})


def test_a_run_replaces_the_columns_of_its_own_peers_alone() -> None:
    before = [seen("a", one=FAILS), seen("b", one=FAILS)]
    now = [seen("c", one=OK), seen("b", one=OK)]
    assert merged(before, now) == [before[0], now[1], now[0]]


def test_a_table_stands_between_its_markers() -> None:
    text = "head\n<!-- a: begin -->\nold\n<!-- a: end -->\nmiddle\n<!-- b: begin -->\n<!-- b: end -->\nfoot\n"
    assert page.placed(text, "a", "new") == text.replace("\nold\n", "\n\nnew\n\n")
    assert page.placed(page.placed(text, "a", "new"), "a", "new") == page.placed(text, "a", "new")
    with pytest.raises(ValueError, match="no place"):
        page.placed(text, "c", "new")


def test_the_page_is_what_was_seen() -> None:
    """And every red cell has its reason."""
    found = page.load()
    content = page.PAGE.read_text(encoding="utf-8")
    for part, columns in found.items():
        assert page.placed(content, part, page.shown(part, columns, EXPLANATIONS[part])) == content
        assert page.unexplained(columns, EXPLANATIONS[part]) == []


def test_what_stands_in_a_cell_is_one_short_line() -> None:
    assert sentence("a | b\n\tc") == "a / b c"
    assert len(sentence("x" * 1000)) == 300


@pytest.mark.parametrize(
    ("available", "expected"),
    [
        (["2.15.1", "2.15.0", "2.14.6", "2.14.5", "2.11.2", "2.11.1", "2.10.26"], ["2.11.2", "2.14.6", "2.15.1"]),
        (["2.11.10", "2.11.9", "2.11.2", "2.12.0-RC.1"], ["2.11.2", "2.11.10"]),
        (["2.10.26"], []),
        ([], []),
    ],
)
def test_the_oldest_version_that_is_taken_and_the_last_of_each_minor_are_tried(
    available: list[str], expected: list[str]
) -> None:
    assert nats_versions.chosen(available) == expected


def script(folder: Path, name: str, says: str) -> Path:
    file = folder / name
    file.write_text(f"#!/bin/sh\necho '{says}'\n")
    file.chmod(0o755)
    return file


def test_a_program_is_found_in_the_folders_that_are_named_before_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = script(tmp_path, "sh", "")
    monkeypatch.setenv(programs.FOLDERS, f"{tmp_path / 'none'}:{tmp_path}")
    assert programs.find("sh") == str(mine)
    monkeypatch.delenv(programs.FOLDERS)
    assert programs.find("sh") != str(mine)
    with pytest.raises(NotHere, match="no-such-server is neither on PATH"):
        programs.find("no-such-server")


@pytest.mark.parametrize(
    ("says", "expected"),
    [
        ("rclone v1.76.0", "1.76.0"),
        ("Docker version 20.10.24+dfsg1, build 297e128", "20.10.24"),
        ("ceph version 16.2.15 (618f44) pacific (stable)", "16.2.15"),
        ("garage v2.5.0-rc1", "2.5.0-rc1"),
        ("nothing", "of unknown version"),
    ],
)
def test_the_version_is_what_the_program_says(tmp_path: Path, says: str, expected: str) -> None:
    assert programs.version(str(script(tmp_path, "server", says)), "--version") == expected
