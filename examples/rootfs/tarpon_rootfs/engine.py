"""The engine: one box for each task, held to its limits, and ended with its node."""

import asyncio
import os
import shutil
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from compute.disk.disk_watch import disk_exceeded
from compute.engines.engine import NETWORK_NOT_OFFERED, NOT_REPRODUCIBLE, Broken, Exited, Run, RunEnd, Unfit
from compute.engines.limit_ends import out_of_memory, over_disk, over_output, task_killed, too_many_processes
from compute.processes.mark import ProcessMark, kill_left_over
from compute.processes.table import proportional_bytes, resident_bytes
from shared.ids import ExecutionId
from shared.jobs.engine_params import read_params
from shared.jobs.spec import Task
from shared.jobs.states import FailureReason
from shared.runtime.aio import finish, first_of, in_thread
from tarpon_rootfs.box import PROGRAM, TEMPORARY, Box, CannotShow, behind_walls, view
from tarpon_rootfs.images import Images, ImageUnusable
from tarpon_rootfs.params import RootfsParams

GRACE_SECONDS = 10.0
START_SECONDS = 60.0
CHECK_SECONDS = 0.25
OUTPUT_LIMIT_BYTES = 1 << 30
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class RootfsEngine:
    """Raises RuntimeError where bubblewrap does not work here."""

    name = "rootfs"
    parameters = RootfsParams
    shows_inputs = True
    isolation = "bubblewrap"

    def __init__(self, images: Images, *, most_processes: int) -> None:
        self._images = images
        self._most_processes = most_processes
        # What bubblewrap does at the end of its parent, it does at the end of the thread that started it.
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="rootfs")
        _check_bubblewrap()

    def close(self) -> None:
        self._threads.shutdown(wait=False)

    def unfit(self, task: Task) -> Unfit | None:
        if task.reproducible:
            return Unfit(NOT_REPRODUCIBLE, "The engine rootfs does not give tasks the same surroundings everywhere.")
        if task.network.type.lower() not in {"", "default", "none", "host", "full"}:
            return Unfit(NETWORK_NOT_OFFERED, "The engine rootfs has the networks None and Host alone.")
        return None

    def end_left_over(self, process: ProcessMark | None, execution_id: ExecutionId) -> int:
        return kill_left_over(process, execution_id)

    async def run(self, run: Run) -> RunEnd:
        params = read_params(run.task.engine.params, RootfsParams)
        if run.devices:
            return Broken(FailureReason.GPU_NOT_GIVEN, "The engine rootfs gives no GPUs.")
        await asyncio.to_thread(run.prepare)
        given = next((each.path for each in run.inputs if each.target == params.image), None)
        with ExitStack() as held:
            try:
                run.on_progress("The image is unpacked, if it is new on this node.")
                root = await asyncio.to_thread(held.enter_context, self._images.unpacked(params, given))
                box = Box()
                held.callback(box.close)
                return await self._run(box, run, params, root)
            except (ImageUnusable, CannotShow) as error:
                return Broken(FailureReason.TASK_NOT_STARTED, str(error))

    async def _run(self, box: Box, run: Run, params: RootfsParams, root: Path) -> RunEnd:
        broken: Broken | None = None
        try:
            await in_thread(lambda: self._start(box, run, params, root), within=START_SECONDS, pool=self._threads)
            broken = await first_of(self._ended_or_broken(box, run), self._over_disk(run))
        finally:
            await finish(asyncio.to_thread(self._end, box, is_asked=broken is None), within=3 * GRACE_SECONDS)
        return broken or self._told(box, run, params)

    def _start(self, box: Box, run: Run, params: RootfsParams, root: Path) -> None:
        run.workspace.make_temporary()
        network = run.task.network.type.lower() in {"host", "full"}
        variables = {"PATH": PATH, "HOME": TEMPORARY[0], "LANG": "C.UTF-8", **params.variables, **run.environment}
        arguments = view(root, run, params, has_network=network, variables=variables)
        with ExitStack() as opened:
            outputs = {}
            for name in ("stdout", "stderr"):
                outputs[name] = run.workspace.open_output(name)
                opened.callback(os.close, outputs[name])
            box.start(arguments, params.command, **outputs, name=run.execution_id)
        run.on_started(box.mark)

    async def _ended_or_broken(self, box: Box, run: Run) -> Broken | None:
        while not await asyncio.to_thread(box.ends_within, CHECK_SECONDS):
            if broken := await asyncio.to_thread(self._broken, box, run):
                return broken
        return None

    def _broken(self, box: Box, run: Run) -> Broken | None:
        """Which limit is broken: they are looked at again and again, as no rights are needed for that."""
        for name in ("stdout", "stderr"):
            if (run.workspace.result / name).stat().st_size > OUTPUT_LIMIT_BYTES:
                return over_output(name, OUTPUT_LIMIT_BYTES)
        found = list(box.family())
        if sum(each.threads for each in found) > self._most_processes:
            return too_many_processes(self._most_processes)
        limit_bytes, resident = run.resources.memory, sum(map(resident_bytes, found))
        run.usage.saw(resident)
        if limit_bytes and resident > limit_bytes and sum(map(proportional_bytes, found)) > limit_bytes:
            return out_of_memory(limit_bytes)
        return None

    async def _over_disk(self, run: Run) -> Broken:
        return over_disk(await disk_exceeded(run.workspace, run.resources.disk), run.resources.disk)

    def _end(self, box: Box, *, is_asked: bool) -> None:
        if box.mark is None:
            return
        if is_asked and not box.ends_within(0):
            box.ask_to_end()
            box.ends_within(GRACE_SECONDS)
        box.kill()

    def _told(self, box: Box, run: Run, params: RootfsParams) -> RunEnd:
        """A kill is told as a shell does, by an exit code, and what was killed has not done what it was to do."""
        if box.exit_code == 128 + signal.SIGKILL:
            return task_killed("SIGKILL")
        if box.has_begun:
            return Exited(box.exit_code)
        words = (run.workspace.result / "stderr").read_text(errors="replace").strip().rpartition("\n")[2]
        detail = f"The command {params.command[0][:100]!r} cannot be started: {words.removeprefix('bwrap: ')[:200]}."
        return Broken(FailureReason.TASK_NOT_STARTED, detail)


def _check_bubblewrap() -> None:
    if shutil.which(PROGRAM) is None:
        raise RuntimeError(f"there is no program {PROGRAM} on the node's PATH")
    done = subprocess.run([*behind_walls({}, {}), "true"], capture_output=True, env={}, timeout=20, check=False)
    if done.returncode:
        raise RuntimeError(f"a trial of {PROGRAM} failed: {done.stderr.decode(errors='replace').strip()[:200]}")
