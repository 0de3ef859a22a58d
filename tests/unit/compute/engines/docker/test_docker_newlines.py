"""Newlines that a log of Docker before version 26 has lost come back."""

from collections.abc import Iterator

from hypothesis import given, settings
from hypothesis import strategies as st

from compute.engines.docker.newlines import PIECE_BYTES, LostNewlines

_LINES = st.lists(
    st.tuples(
        st.integers(1, 2), st.sampled_from([0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES])
    ),
    max_size=12,
)


def logged(lines: list[tuple[int, int]], *, keeps_newlines: bool) -> Iterator[tuple[int, bytes]]:
    """What such a log holds of lines of streams: a frame for each piece, with the time of its line."""
    for number, (stream, length) in enumerate(lines):
        at = b"2026-11-29T00:00:%02d.000000000Z " % number
        line = b"x" * length
        pieces = [line[start : start + PIECE_BYTES] for start in range(0, length, PIECE_BYTES)]
        if length < PIECE_BYTES:
            yield stream, at + line + b"\n"
            continue
        if length % PIECE_BYTES == 0:
            pieces.append(b"")
        for piece in pieces[:-1]:
            yield stream, at + piece
        yield stream, at + pieces[-1] + (b"\n" if keeps_newlines else b"")


@given(_LINES, st.booleans(), st.integers(1, 5000))
@settings(deadline=None)
def test_what_the_task_wrote_comes_back_however_it_is_cut(
    lines: list[tuple[int, int]],
    keeps_newlines: bool,  # noqa: FBT001
    cut: int,
) -> None:
    short_ends = [(1, 0), (2, 0)]
    newlines, got = LostNewlines(), {1: b"", 2: b""}
    for stream, frame in logged(lines + short_ends, keeps_newlines=keeps_newlines):
        for start in range(0, len(frame), cut):
            piece = frame[start : start + cut]
            got[stream] += newlines.take(stream, piece, ends_frame=start + cut >= len(frame))
    wrote = {1: b"", 2: b""}
    for stream, length in lines + short_ends:
        wrote[stream] += b"x" * length + b"\n"
    assert got == wrote
    assert newlines.is_whole


def test_it_is_said_when_nobody_knows_whether_the_last_line_had_one() -> None:
    newlines = LostNewlines()
    frames = list(logged([(1, PIECE_BYTES + 1)], keeps_newlines=False))
    for stream, frame in frames:
        newlines.take(stream, frame, ends_frame=True)
    assert not newlines.is_whole
