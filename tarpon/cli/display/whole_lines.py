"""Whole lines of what several write at once: what is no line yet is kept back until it ends."""

from collections.abc import Hashable

MAX_HELD = 1 << 16
"""Characters of a line that are kept back at most."""


class WholeLines:
    """By who writes, and on which stream."""

    def __init__(self) -> None:
        self._held: dict[tuple[Hashable, str], str] = {}

    def take(self, writer: Hashable, stream: str, text: str) -> list[str]:
        """The lines that have ended, without their ends."""
        *lines, rest = (self._held.pop((writer, stream), "") + text).split("\n")
        if len(rest) > MAX_HELD:
            lines.append(rest)
        elif rest:
            self._held[writer, stream] = rest
        return lines

    def end(self, writer: Hashable) -> list[tuple[str, str]]:
        """What was kept back of this one, with its streams."""
        return [(key[1], self._held.pop(key)) for key in [each for each in self._held if each[0] == writer]]

    def __repr__(self) -> str:
        return f"<WholeLines, {len(self._held)} of them not whole yet>"
