"""How a command runs on the host itself, in a process group of its own.

There is no isolation: the task has the rights of the node's user, and what leaves the process group is out of reach.
The node's operator has to enable this engine.
"""

import asyncio
import errno
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from compute.engines.engine import Broken, Exited, Run, RunEnd
from compute.engines.process_group import ProcessGroup
from compute.environment import basics
from compute.process_mark import ProcessMark, kill_left_over
from compute.workspace import STDERR, STDOUT, Workspace
from shared.aio import finish, process_ended
from shared.errors import InvalidJob
from shared.ids import ExecutionId
from shared.states import FailureReason

GRACE_SECONDS = 10.0
"""Between asking a task to stop and killing it."""
OUTPUT_LIMIT_BYTES = 1 << 30
"""For stdout and for stderr each."""
CHECK_SECONDS = 1.0
START_SECONDS = 60.0


class ProcessParams(msgspec.Struct, frozen=True, kw_only=True, rename=lambda name: name.replace("_", "")):
    """`Engine.Params` of a task, as those of the docker engine without the image; keys in lower case."""

    entrypoint: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()
    environment_variables: tuple[str, ...] = ()
    working_directory: str = ""

    @property
    def command(self) -> list[str]:
        return [*self.entrypoint, *self.parameters]

    @property
    def variables(self) -> dict[str, str]:
        return dict(assignment.split("=", 1) for assignment in self.environment_variables)


def parse_params(params: Mapping[str, Any]) -> ProcessParams:
    """Raise InvalidJob, with every problem, unless a command comes out. Unknown keys are left alone."""
    try:
        parsed = msgspec.convert({key.lower(): value for key, value in params.items()}, ProcessParams)
    except msgspec.ValidationError as error:
        raise InvalidJob([f"Engine.Params of the process engine: {error}"]) from None
    problems = []
    if not parsed.command or not parsed.command[0]:
        problems.append("Engine.Params of the process engine names no command: give Entrypoint or Parameters")
    if any("\0" in text for text in (*parsed.command, *parsed.environment_variables, parsed.working_directory)):
        problems.append("Engine.Params of the process engine holds a NUL character")
    problems += [
        f"EnvironmentVariables: {text[:40]!r} is not NAME=value"
        for text in parsed.environment_variables
        if not text.partition("=")[0] or "=" not in text
    ]
    if ".." in Path(parsed.working_directory).parts:
        problems.append("WorkingDirectory leaves the task's folder")
    if problems:
        raise InvalidJob(problems)
    return parsed


class ProcessEngine:
    name = "process"

    def __init__(
        self,
        node_environment: Mapping[str, str],
        *,
        grace_seconds: float = GRACE_SECONDS,
        output_limit_bytes: int = OUTPUT_LIMIT_BYTES,
        check_seconds: float = CHECK_SECONDS,
    ) -> None:
        self._node_environment = node_environment
        self._grace_seconds = grace_seconds
        self._output_limit_bytes = output_limit_bytes
        self._check_seconds = check_seconds

    def check(self, params: Mapping[str, Any]) -> None:
        parse_params(params)

    async def run(self, run: Run) -> RunEnd:
        params = parse_params(run.task.engine.params)
        group = ProcessGroup()
        try:
            try:
                await finish(asyncio.to_thread(self._start, group, params, run), within=START_SECONDS)
            except (OSError, ValueError) as error:
                return _not_started(params.command[0], error)
            await run.on_started(group.mark)
            over = await self._ended_or_over_limit(group.pid, run.workspace)
        finally:
            await finish(group.end(self._grace_seconds), within=self._grace_seconds + START_SECONDS)
        if over:
            limit = f"{self._output_limit_bytes:,} bytes"
            return Broken(FailureReason.OUTPUT_LIMIT_EXCEEDED, f"The task wrote more than {limit} to {over}.")
        return Exited(group.exit_code)

    def end_left_over(self, process: ProcessMark, execution_id: ExecutionId) -> int:
        return kill_left_over(process, execution_id)

    def _start(self, group: ProcessGroup, params: ProcessParams, run: Run) -> None:
        folder = run.workspace.place(params.working_directory)
        folder.mkdir(parents=True, exist_ok=True)
        with (run.workspace.result / STDOUT).open("wb") as stdout, (run.workspace.result / STDERR).open("wb") as stderr:
            group.start(
                params.command,
                cwd=folder,
                env=basics(self._node_environment, run.workspace.folder) | params.variables | dict(run.environment),
                stdout=stdout,
                stderr=stderr,
            )

    async def _ended_or_over_limit(self, pid: int, workspace: Workspace) -> str:
        """Which of the outputs is too large; empty when the task has ended before that."""
        ended = False
        while not ended:
            try:
                async with asyncio.timeout(self._check_seconds):
                    await process_ended(pid)
                ended = True
            except TimeoutError:
                pass
            over = await asyncio.to_thread(self._over_limit, workspace.result)
            if over:
                return over
        return ""

    def _over_limit(self, result: Path) -> str:
        sizes = {name: (result / name).stat().st_size for name in (STDOUT, STDERR)}
        return next((name for name, size in sizes.items() if size > self._output_limit_bytes), "")


_START_PROBLEMS = {
    errno.ENOENT: "was not found on this node",
    errno.ENOTDIR: "was not found on this node",
    errno.EACCES: "may not be executed on this node",
    errno.EPERM: "may not be executed on this node",
    errno.ENOEXEC: "is neither a program nor a script whose first line names its interpreter",
    errno.E2BIG: "has too many or too long arguments and variables",
    errno.ELOOP: "is a link that leads nowhere",
    errno.ENAMETOOLONG: "is longer than a file name can be",
}


def _not_started(command: str, error: OSError | ValueError) -> Broken:
    """What the author of the job can mend. Raises the error again where it is the node's."""
    if isinstance(error, OSError) and error.errno not in _START_PROBLEMS:
        raise error
    problem = _START_PROBLEMS[error.errno or 0] if isinstance(error, OSError) else f"cannot be started: {error}"
    return Broken(FailureReason.TASK_NOT_STARTED, f"The command {command[:200]!r} {problem}.")
