"""The lines that tasks write while their job is watched, beside what is told of the job; with names of their parts."""

from tarpon.cli.display.live import JobDisplay
from tarpon.cli.display.task_output import TaskOutput
from tarpon.results.logs import STDERR

MAX_HELD = 1 << 16
"""Characters of a line that is kept back until it ends."""


class PartitionLines:
    """Each line has its part's name before it: `0007 | Hello`. What has none is written as it comes."""

    def __init__(self, display: JobDisplay, *, only_stderr: bool = False) -> None:
        self._display = display
        self._only_stderr = only_stderr
        self._output = TaskOutput(None)
        self._held: dict[tuple[str, str], str] = {}

    def __repr__(self) -> str:
        return f"<PartitionLines, {len(self._held)} of them not whole yet>"

    def write(self, partition: str, stream: str, text: str) -> None:
        if not partition:
            self._write(stream, text)
            return
        *lines, rest = (self._held.pop((partition, stream), "") + text).split("\n")
        if len(rest) > MAX_HELD:
            lines.append(rest)
        elif rest:
            self._held[partition, stream] = rest
        self._write(stream, "".join(f"{partition} | {line}\n" for line in lines))

    def end(self, partition: str) -> None:
        """After the last that an execution of the part wrote."""
        for key in [each for each in self._held if each[0] == partition]:
            self._write(key[1], f"{partition} | {self._held.pop(key)}\n")

    def tell(self, text: str) -> None:
        """On a line of its own."""
        self._display.tell(text)

    def _write(self, stream: str, text: str) -> None:
        if text:
            self._display.make_way()
            self._output.write(STDERR if self._only_stderr else stream, text.encode())
            self._output.end()
            self._display.is_held = not text.endswith("\n")
