"""The engine that runs a command on the host itself, in a process group of its own.

With bubblewrap it does so behind walls. Without it there is no isolation: a task has the rights of the node's user.
Memory, disk space and the number of processes are limited by looking again and again, which needs no rights and no
control groups; a task may exceed a limit until the next look. CPU is not limited: what a job asks for decides where it
is placed, and nothing more.
"""

import asyncio
import errno
import os
import stat
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path

from compute.disk.disk_watch import LEAST_PAUSE_SECONDS, disk_exceeded
from compute.disk.result_contents import STDERR, STDOUT
from compute.disk.workspace import Workspace
from compute.engines import reproducible
from compute.engines.engine import NETWORK_NOT_OFFERED, NOT_REPRODUCIBLE, Broken, Exited, Run, RunEnd, Unfit
from compute.engines.environment import basics
from compute.engines.gpus import for_process
from compute.engines.limit_ends import over_disk, over_output, task_killed
from compute.engines.process.bubblewrap import NAME as BUBBLEWRAP
from compute.engines.process.bubblewrap import Bubblewrap
from compute.engines.process.group import ProcessGroup, in_thread_if_any
from compute.engines.process.limits import MemoryUsage, broken_limit
from compute.engines.process.sandbox import SandboxView, seen_at
from compute.engines.process.sandboxed_group import SandboxedGroup
from compute.processes.mark import ProcessMark, kill_left_over
from compute.processes.strays import Strays
from compute.processes.umask import umask_of_thread
from shared.ids import ExecutionId
from shared.jobs.engine_params import PROCESS, ProcessParams, read_params
from shared.jobs.rules import NO_NETWORK
from shared.jobs.spec import Task
from shared.jobs.states import FailureReason
from shared.runtime.aio import finish, first_of, in_thread, process_ended

GRACE_SECONDS = 10.0
"""Between asking a task to stop and killing it."""
OUTPUT_LIMIT_BYTES = 1 << 30
"""For stdout and for stderr each."""
PROCESSES_LIMIT = 1024
FIRST_CHECK_SECONDS = 0.1
"""A task that is quicker costs no look at all."""
CHECK_SECONDS = 0.25
MOST_CHECK_SECONDS = 1.0
PAUSE_SHARE = 20.0
"""Between two looks passes so many times the duration of a look, within CHECK_SECONDS and MOST_CHECK_SECONDS."""
START_SECONDS = 60.0
BEGINNERS = min(8, (os.cpu_count() or 1) + 1)
"""Threads that begin tasks. More would only be in each other's way: in the kernel, which makes walls under locks of its
own, and for Python's lock."""
AT_ONCE_SECONDS = 0.01
"""So long the thread that has started a task waits for its end: less work than to have the event loop told of it."""


class ProcessEngine:
    """`strays` have to adopt for tasks to be held to their limits; else a task's group is all that is known of it."""

    name = PROCESS
    parameters = ProcessParams

    def __init__(
        self,
        node_environment: Mapping[str, str],
        *,
        strays: Strays,
        bubblewrap: Bubblewrap | None = None,
        processes_limit: int = PROCESSES_LIMIT,
        grace_seconds: float = GRACE_SECONDS,
        output_limit_bytes: int = OUTPUT_LIMIT_BYTES,
        check_seconds: float = CHECK_SECONDS,
        disk_check_seconds: float = LEAST_PAUSE_SECONDS,
    ) -> None:
        self._node_environment = node_environment
        self._strays = strays
        self._bubblewrap = bubblewrap
        self._processes_limit = processes_limit
        self._grace_seconds = grace_seconds
        self._output_limit_bytes = output_limit_bytes
        self._check_seconds = check_seconds
        self._disk_check_seconds = disk_check_seconds
        self._beginners = ThreadPoolExecutor(BEGINNERS, thread_name_prefix="begin")

    @property
    def isolation(self) -> str:
        return BUBBLEWRAP if self.is_sandboxed else "none"

    @property
    def shows_inputs(self) -> bool:
        return self.is_sandboxed

    @property
    def is_sandboxed(self) -> bool:
        return self._bubblewrap is not None

    def unfit(self, task: Task) -> Unfit | None:
        because = "because its setting Engines.Types.Process.Sandbox is off."
        if task.reproducible and not self.is_sandboxed:
            what = f"The {self.name} engine of this node cannot give a task the host name that it has elsewhere"
            return Unfit(NOT_REPRODUCIBLE, f"{what}, {because}")
        if task.network.type.lower() == NO_NETWORK and not self.is_sandboxed:
            what = f"The {self.name} engine of this node cannot keep a task off the network"
            return Unfit(NETWORK_NOT_OFFERED, f"{what}, {because}")
        return None

    async def run(self, run: Run) -> RunEnd:
        params = read_params(run.task.engine.params, ProcessParams)
        group = self._group(run)
        broken: Broken | None = None
        try:
            begin = partial(self._begin, group, params, run)
            end = await in_thread(begin, within=START_SECONDS, pool=self._beginners)
            if end is None:
                broken = await first_of(self._ended_or_broken(group, run), self._over_disk(run))
        finally:
            if not group.is_gone:
                # Whoever breaks a limit would break it further while being asked to stop.
                grace_seconds = 0.0 if broken else self._grace_seconds
                await finish(group.end(grace_seconds), within=grace_seconds + START_SECONDS)
            run.usage.saw(group.peak_bytes)
            if group.left_nobody:
                run.workspace.nobody_is_left()
        return end or broken or _end(group, params.command[0])

    def end_left_over(self, process: ProcessMark | None, execution_id: ExecutionId) -> int:
        return kill_left_over(process, execution_id)

    def _group(self, run: Run) -> ProcessGroup:
        if self._bubblewrap is None:
            return ProcessGroup(run.execution_id, self._strays)
        view = SandboxView(
            workspace=run.workspace.folder,
            temporary=run.workspace.temporary,
            files=[each.file for each in run.secrets],
            inputs=_shown(run),
            has_gpus=bool(run.devices),
            host_name=reproducible.HOST_NAME if run.task.reproducible else "",
            has_network=run.task.network.type.lower() != NO_NETWORK,
        )
        stderr = run.workspace.result / STDERR
        return SandboxedGroup(run.execution_id, self._strays, self._bubblewrap, view, stderr)

    def _begin(self, group: ProcessGroup, params: ProcessParams, run: Run) -> RunEnd | None:
        """The end of a task that cannot be started, or that is over in a moment, which one thread alone sees to."""
        run.prepare()
        try:
            self._start(group, params, run)
        except (OSError, ValueError) as error:
            return _not_started(params.command[0], error)
        if group.is_gone:  # it took so long to start that nobody waits for it any more
            return None
        run.on_started(group.mark)
        if not group.ends_within(min(AT_ONCE_SECONDS, self._check_seconds)):
            return None
        is_gone = group.end_rest()
        run.usage.saw(group.peak_bytes)
        end = self._broken(None, run) or _end(group, params.command[0])
        if isinstance(end, Exited) and is_gone:
            run.on_exited(end.exit_code)
        return end

    def _start(self, group: ProcessGroup, params: ProcessParams, run: Run) -> None:
        folder, shown = run.workspace.place(params.working_directory), _shown(run)
        _make_places(shown)
        if params.working_directory:
            _make_working_directory(folder, shown)
        _link_secrets(run)
        if self._bubblewrap is not None:
            run.workspace.make_temporary()
        with _opened(run.workspace, STDOUT) as stdout, _opened(run.workspace, STDERR) as stderr:
            environment = self._environment(params, run)
            with umask_of_thread(reproducible.UMASK) if run.task.reproducible else nullcontext():
                group.start(params.command, cwd=folder, env=environment, stdout=stdout, stderr=stderr)

    def _environment(self, params: ProcessParams, run: Run) -> dict[str, str]:
        own = basics(self._node_environment, run.workspace.folder)
        return for_process(own | run.variables(params.variables), run.devices)

    async def _ended_or_broken(self, group: ProcessGroup, run: Run) -> Broken | None:
        """None when the task has ended by itself, within its limits."""
        pause, ended, broken = min(FIRST_CHECK_SECONDS, self._check_seconds), False, None
        usage = MemoryUsage(run.usage)
        while not ended and broken is None:
            try:
                async with asyncio.timeout(pause):
                    await process_ended(group.pid)
                ended = True
            except TimeoutError:
                pass
            begun = time.monotonic()
            broken = await in_thread_if_any(self._broken, None if ended else group, run, usage)
            wanted = PAUSE_SHARE * (time.monotonic() - begun)
            pause = max(self._check_seconds, min(MOST_CHECK_SECONDS, wanted))
        return broken

    def _broken(self, group: ProcessGroup | None, run: Run, usage: MemoryUsage | None = None) -> Broken | None:
        """Which limit is broken. Without a group the task has ended, and its output alone is left to be judged."""
        for name in (STDOUT, STDERR):
            if (run.workspace.result / name).stat().st_size > self._output_limit_bytes:
                return over_output(name, self._output_limit_bytes)
        if group is None or usage is None:
            return None
        memory = run.resources.memory
        broken = broken_limit(group.family, usage, memory_limit_bytes=memory, processes_limit=self._processes_limit)
        if broken:
            group.kill()  # here, because a fork bomb leaves the event loop little time
        return broken

    async def _over_disk(self, run: Run) -> Broken:
        limit_bytes = run.resources.disk
        used = await disk_exceeded(run.workspace, limit_bytes, pause_seconds=self._disk_check_seconds)
        return over_disk(used, limit_bytes)


def _end(group: ProcessGroup, command: str) -> RunEnd:
    """Whoever is killed has not done what it was to do, whatever its exit code would be."""
    if problem := group.start_problem:
        return _not_started(command, problem)
    return task_killed(group.killed_by) if group.killed_by else Exited(group.exit_code)


def _shown(run: Run) -> dict[Path, Path]:
    """By the places under which the task sees them: the inputs that are not in its workspace, but behind walls."""
    places = {run.workspace.place(each.target): each.path for each in run.inputs}
    return {place: path for place, path in places.items() if place != path}


def _make_places(shown: Mapping[Path, Path]) -> None:
    """What is empty here has the input over it where the task is."""
    for place, path in shown.items():
        place.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            place.mkdir(exist_ok=True)
        else:
            place.touch()


def _make_working_directory(folder: Path, shown: Mapping[Path, Path]) -> None:
    """Raises ValueError where an input of the job is in the way."""
    try:
        if (seen := seen_at(folder, shown)) != folder:
            _check_working_directory(seen)
            return
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise ValueError("its working directory is in the place of an input, which is a file") from None
    except PermissionError:
        raise ValueError("its working directory is in an input, which has no such folder and is read only") from None


def _check_working_directory(seen: Path) -> None:
    """In an input, of which nothing changes. Raises FileExistsError, NotADirectoryError, PermissionError."""
    try:
        mode = seen.stat().st_mode
    except FileNotFoundError:
        raise PermissionError from None
    if not stat.S_ISDIR(mode):
        raise NotADirectoryError


def _link_secrets(run: Run) -> None:
    """As there are no paths of its own for the task, they are below its folder, as its result paths are.

    Raises ValueError where the job itself is in the way.
    """
    for each in run.secrets:
        link = run.workspace.place(each.path)
        try:
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(each.file)
        except (FileExistsError, NotADirectoryError):
            raise ValueError(f"its working directory is in the place of the secret {each.path[:200]}") from None


@contextmanager
def _opened(workspace: Workspace, name: str) -> Iterator[int]:
    descriptor = workspace.open_output(name)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


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


def _not_started(command: str, error: Exception) -> Broken:
    """What the author of the job can mend. Raises the error again where it is the node's."""
    if isinstance(error, ValueError):
        problem = f"cannot be started: {error}"
    elif isinstance(error, OSError) and error.errno in _START_PROBLEMS:
        problem = _START_PROBLEMS[error.errno]
    else:
        raise error
    return Broken(FailureReason.TASK_NOT_STARTED, f"The command {command[:200]!r} {problem}.")
