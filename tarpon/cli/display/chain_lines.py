"""The lines of several jobs that are watched together: each step of each of them, and what their tasks write."""

from datetime import UTC, datetime

import click

from shared.data.plain_text import one_line
from shared.jobs.spec import JobView
from shared.protocol.rest import HistoryItem
from tarpon.cli.console.output import moment
from tarpon.cli.display.task_output import TaskOutput
from tarpon.cli.display.whole_lines import WholeLines
from tarpon.results.logs import STDERR

FAILURES_TOLD = 10


class ChainLines:
    """Lines on stderr of what happens, and of each task's output with the names of its job and its part before it."""

    def __init__(self, *, verbose: bool, only_stderr: bool) -> None:
        self._verbose = verbose
        self._only_stderr = only_stderr
        self._output = TaskOutput(None)

    def __repr__(self) -> str:
        return "<ChainLines, verbose>" if self._verbose else "<ChainLines>"

    def tell(self, text: str) -> None:
        click.echo(text, err=True)

    def say(self, name: str, text: str) -> None:
        now = datetime.now(UTC)
        click.echo(f"{moment(now, now)}  {name}: {one_line(text)}", err=True)

    def write_output(self, stream: str, text: str) -> None:
        if text:
            self._output.write(STDERR if self._only_stderr else stream, text.encode())
            self._output.end()

    def of(self, name: str) -> "JobLines":
        return JobLines(self, name, verbose=self._verbose)


class JobLines:
    """Those of one job, and where its output goes."""

    def __init__(self, lines: ChainLines, name: str, *, verbose: bool) -> None:
        self._lines = lines
        self._name = name
        self._verbose = verbose
        self._said = ""
        self._failures: set[str] = set()
        self._whole = WholeLines()

    def __repr__(self) -> str:
        return f"<JobLines of {self._name}>"

    def news(self, news: HistoryItem | JobView) -> None:
        if isinstance(news, JobView):
            message = news.state.message
            told = f"{news.state.state_type}{f': {message}' if message else ''}"
            if told != self._said:
                self._said = told
                self._lines.say(self._name, told)
        elif self._verbose or (news.event.is_error and news.execution_id and self._is_new(news.event.message)):
            self._lines.say(self._name, news.event.message)

    def _is_new(self, failure: str) -> bool:
        """What many parts fail for is told once, and of what each fails for otherwise the first few."""
        if failure in self._failures or len(self._failures) >= FAILURES_TOLD:
            return False
        self._failures.add(failure)
        return True

    def write(self, partition: str, stream: str, text: str) -> None:
        lines = self._whole.take(partition, stream, text)
        begin = self._begin(partition)
        self._lines.write_output(stream, "".join(f"{begin}{line}\n" for line in lines))

    def end(self, partition: str) -> None:
        """After the last that an execution of the part wrote."""
        for stream, rest in self._whole.end(partition):
            self._lines.write_output(stream, f"{self._begin(partition)}{rest}\n")

    def tell(self, text: str) -> None:
        self._lines.tell(f"{self._name}: {text}")

    def _begin(self, partition: str) -> str:
        return f"{self._name} {partition} | " if partition else f"{self._name} | "
