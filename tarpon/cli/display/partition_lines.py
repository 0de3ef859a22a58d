"""The lines that tasks write while their job is watched, beside what is told of the job; with names of their parts."""

from tarpon.cli.display.live import JobDisplay
from tarpon.cli.display.task_output import TaskOutput
from tarpon.cli.display.whole_lines import WholeLines
from tarpon.results.logs import STDERR


class PartitionLines:
    """Each line has its part's name before it: `0007 | Hello`. What has none is written as it comes."""

    def __init__(self, display: JobDisplay, *, only_stderr: bool = False) -> None:
        self._display = display
        self._only_stderr = only_stderr
        self._output = TaskOutput(None)
        self._whole = WholeLines()

    def __repr__(self) -> str:
        return f"<PartitionLines, {self._whole!r}>"

    def write(self, partition: str, stream: str, text: str) -> None:
        if not partition:
            self._write(stream, text)
            return
        lines = self._whole.take(partition, stream, text)
        self._write(stream, "".join(f"{partition} | {line}\n" for line in lines))

    def end(self, partition: str) -> None:
        """After the last that an execution of the part wrote."""
        for stream, rest in self._whole.end(partition):
            self._write(stream, f"{partition} | {rest}\n")

    def tell(self, text: str) -> None:
        """On a line of its own."""
        self._display.tell(text)

    def _write(self, stream: str, text: str) -> None:
        if text:
            self._display.make_way()
            self._output.write(STDERR if self._only_stderr else stream, text.encode())
            self._output.end()
            self._display.is_held = not text.endswith("\n")
