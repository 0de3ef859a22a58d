"""Masking: what a node tells of a task shows no secret that the task was given, where it would show it as it is.

Where a text was cut a value shows its beginning, so that is looked for. Values of few bytes are left alone: they would
be found in words that are none of them.
"""

import json
import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator

from msgspec.structs import replace

from shared.protocol.messages import RunOutput

LEAST_MASKED = 8
"""Of a value, in bytes; and of its beginning, in characters."""
MASK = "***"


class Masking:
    """Of these values, as they are and as programs quote them."""

    def __init__(self, values: Iterable[bytes]) -> None:
        texts = [value.decode(errors="replace") for value in values if len(value) >= LEAST_MASKED]
        self._forms = [form for text in texts for form in _forms(text)]
        beginnings = sorted({re.escape(form[:LEAST_MASKED]) for form in self._forms}, key=len, reverse=True)
        self._beginning = re.compile(f"(?={'|'.join(beginnings)})")

    def __repr__(self) -> str:
        return f"<Masking of {len(self._forms)} forms>"

    def text(self, text: str) -> str:
        if not self._forms:
            return text
        parts, done = list[str](), 0
        for start, end in _joined(self._found(text)):
            parts += text[done:start], MASK
            done = end
        return "".join((*parts, text[done:]))

    def output(self, output: RunOutput) -> RunOutput:
        if not self._forms:
            return output
        return replace(
            output,
            stdout=self._beginning_of(output.stdout, is_cut=output.stdout_truncated),
            stderr=self._beginning_of(output.stderr, is_cut=output.stderr_truncated),
        )

    def _found(self, text: str) -> Iterator[tuple[int, int]]:
        """From where to where a value is in the text, or its beginning, in order of where that begins."""
        for match in self._beginning.finditer(text):
            at = match.start()
            yield at, at + max(_shared(text, at, form) for form in self._forms)

    def _beginning_of(self, text: str, *, is_cut: bool) -> str:
        """Where it was cut, the last characters may be the first ones of a value, however few."""
        text = self.text(text)
        longest = max(_overlap(text, form) for form in self._forms) if is_cut else 0
        return f"{text[: len(text) - longest]}{MASK}" if longest else text


NOTHING = Masking(())


def _forms(text: str) -> set[str]:
    return {text, json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1], repr(text)[1:-1]}


def _joined(found: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Those that overlap or touch as one."""
    start = end = -1
    for each in found:
        if each[0] <= end:
            end = max(end, each[1])
            continue
        if end > 0:
            yield start, end
        start, end = each
    if end > 0:
        yield start, end


def _shared(text: str, at: int, form: str) -> int:
    """How many characters of the form are in the text from there on."""
    most = min(len(form), len(text) - at)
    return bisect_left(range(1, most + 1), True, key=lambda length: not text.startswith(form[:length], at))


def _overlap(text: str, form: str) -> int:
    """How many characters at the end of the text are the first ones of the form."""
    most = min(len(text), LEAST_MASKED - 1)
    return next((length for length in range(most, 0, -1) if form.startswith(text[-length:])), 0)
