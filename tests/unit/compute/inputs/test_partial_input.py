"""A large input on its way goes on where it was, and believes of its note only what is whole."""

from pathlib import Path

from compute.inputs.objects.partial_input import PIECE_BYTES, Becomes, PartialInput

BECOMES = Becomes(size=40 * PIECE_BYTES, etag='"e"', sha256="")


def missing(path: Path) -> set[int]:
    opened = PartialInput(path, BECOMES)
    try:
        return set(opened.missing)
    finally:
        opened.close()


def test_what_follows_a_line_that_is_not_whole_is_no_part_of_it(tmp_path: Path) -> None:
    path = tmp_path / "partial"
    assert len(missing(path)) == 40
    note = path.with_name("partial.note")
    with note.open("ab") as file:
        file.write(b"7\n3")  # a full disk has taken no more than that of "30"
    opened = PartialInput(path, BECOMES)
    opened.write(memoryview(b"x" * PIECE_BYTES), 5 * PIECE_BYTES)
    opened.close()
    assert missing(path) == set(range(40)) - {5, 7}
