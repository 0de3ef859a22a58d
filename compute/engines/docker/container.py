"""The container of one task, from its creation to its end, whatever dies meanwhile.

While the node lives it reads the output as it comes. Where it was away, or the engine was, the output is read again
from the engine's own log when the container has ended.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from compute.disk.disk_watch import LEAST_PAUSE_SECONDS, disk_exceeded
from compute.disk.result_contents import STDERR
from compute.disk.secret_files import FOR_ANY_USER
from compute.disk.workspace import DISK_SECONDS
from compute.engines.docker.api import ContainerState, DockerApi, EngineAway, EngineRefusal
from compute.engines.docker.ends import (
    GPUS_NOT_GIVEN,
    LOST,
    MACHINE_RESTARTED,
    STARVED,
    not_started,
    started_before_boot,
)
from compute.engines.docker.facts import NVIDIA, EngineFacts
from compute.engines.docker.images import Images, is_missing_image
from compute.engines.docker.log import read_log
from compute.engines.docker.memory import watch_memory
from compute.engines.docker.mounts import NOT_SEEN, Mounts, is_missing_source
from compute.engines.docker.oom_kills import KILLED, with_kernel_s_word
from compute.engines.docker.output import Outputs
from compute.engines.docker.signals import EXPLAINED_SECONDS, LATE_SECONDS, TOLD_SECONDS, Signals
from compute.engines.docker.spec import (
    LOG_FILE_BYTES,
    RESULT_FOLDER_MODE,
    Confinement,
    container_name,
    container_spec,
    has_the_node_s_user,
    make_hosts_file,
    memory_limit,
)
from compute.engines.docker.takeover import take_over
from compute.engines.engine import Broken, Exited, Run, RunEnd
from compute.engines.limit_ends import most_likely_out_of_memory, out_of_memory, over_disk, over_output
from shared.jobs.engine_params import DockerParams, read_params
from shared.runtime.aio import finish, first_of, in_thread

_log = logging.getLogger(__name__)

POLL_SECONDS = 0.25
START_SECONDS = 120.0
STARTED_SECONDS = 10.0
"""For a start that was not answered to show; a second one could run a task twice that ended at once."""
REMOVE_SECONDS = 90.0
RESTORED_MODE = 0o755
KILL_SECONDS = 15.0
SETTLED_SECONDS = 5.0
TOLD_AT_ONCE_SECONDS = 0.5
"""Between the end of the output and the word of the end, mostly milliseconds."""
EARLY_SECONDS = 3.0
"""Between the end of the output and that of its container; more is odd."""
_NOT_FOUND = 404
_NO_COMMAND = {126, 127, 1}
"""Of Docker's init process, and of Podman's."""
_STOPPED = {KILLED, 128 + 15}
"""What a container ends with that was stopped; 143 is that of one that an earlier version of this node made."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    grace_seconds: float
    output_limit_bytes: int
    engine_wait_seconds: float
    """How long a running task may wait for an engine that has stopped answering."""
    outlived_wait_seconds: float
    """The same of an engine without which its containers go on."""
    disk_check_seconds: float = LEAST_PAUSE_SECONDS


class ContainerRun:
    """One run. Only `Exited` leaves the container behind, so that its output can be read again if the node dies."""

    def __init__(
        self,
        run: Run,
        api: DockerApi,
        *,
        images: Images,
        signals: Signals,
        mounts: Mounts,
        facts: EngineFacts,
        confinement: Confinement,
        limits: Limits,
        is_left: Callable[[], bool] = lambda: False,
    ) -> None:
        self._run = run
        self._is_left = is_left
        self._api = api
        self._images = images
        self._signals = signals
        self._mounts = mounts
        self._epoch = signals.epoch
        self._facts = facts
        self._confinement = confinement
        self._limits = limits
        self._name = container_name(run.execution_id)
        self._told = signals.told(self._name)
        self._outputs = Outputs(run.workspace.result, limits.output_limit_bytes)
        self._started = run.resumed
        self._runs = asyncio.Event()
        self._was_away = False
        self._heard_until = 0.0
        """When the stream of the output ended."""

    def __repr__(self) -> str:
        return f"<ContainerRun {self._name}>"

    async def end(self) -> RunEnd:
        """Raises what `DockerApi` and `Images` raise, OSError where the node's disk fails, InvalidJob."""
        try:
            run = self._resume() if self._run.resumed else self._start()
            memory = watch_memory(self._runs, partial(self._api.inspect, self._name), self._run.usage)
            found = await first_of(run, self._over_disk(), memory)
            is_broken = isinstance(found, Broken)
            await take_over(self._api, self._name, self._run, self._facts, folders_only=is_broken)
            if self._run.task.result_paths:
                await asyncio.to_thread(self._close_folders)
        except BaseException:
            if not self._is_left():
                await finish(self._stop(), within=self._limits.grace_seconds + REMOVE_SECONDS)
            raise
        finally:
            self._signals.forget(self._name)
        if isinstance(found, Broken):
            await finish(self._remove(), within=REMOVE_SECONDS)
        else:
            self._run.workspace.nobody_is_left()
        return found

    # ---- from the beginning -----------------------------------------------------------------------------------------

    async def _start(self) -> RunEnd:
        params = read_params(self._run.task.engine.params, DockerParams)
        spec = container_spec(self._run, params, self._confinement, self._facts)
        await asyncio.to_thread(self._open_folders)
        if self._run.devices and not self._facts.gpu_driver:
            return GPUS_NOT_GIVEN
        if not await self._created(spec):
            return NOT_SEEN
        if not await self._has_devices():
            return GPUS_NOT_GIVEN
        await self._watched()
        try:
            over = await self._attached()
        except EngineAway:
            if not self._started:
                raise
            self._was_away, over = True, ""
        return over_output(over, self._limits.output_limit_bytes) if over else await self._collect()

    async def _created(self, spec: dict[str, Any]) -> bool:
        """Whether there is a container, in which what the task writes is written to its workspace."""
        folder, image = self._run.workspace.root.parent, spec["Image"]
        try:
            try:
                await finish(self._api.create(self._name, spec), within=START_SECONDS)
            except EngineRefusal as error:
                if not is_missing_image(error):
                    raise
                await self._pulled(image)
                await finish(self._api.create(self._name, spec), within=START_SECONDS)
        except EngineRefusal as error:
            if is_missing_source(error) and not await self._mounts.are_shared(folder, image):
                return False
            raise
        with contextlib.suppress(EngineAway, EngineRefusal):  # a name may mean another one by now
            self._run.usage.image = image, (await self._api.inspect(self._name)).image_id
        return await self._mounts.are_shared(folder, image)

    async def _pulled(self, image: str) -> None:
        began = time.monotonic()
        await self._images.pull(image, self._run.on_progress)
        self._run.usage.pull_seconds += time.monotonic() - began

    async def _has_devices(self) -> bool:
        """Whether the engine has understood which GPUs the task has; one that cannot give them refuses to start it."""
        if not self._run.devices or self._facts.gpu_driver != NVIDIA:
            return True
        return await self._api.given_devices(self._name) == list(self._run.devices)

    async def _attached(self) -> str:
        """Which of the outputs is too large; empty when both are closed."""
        async with self._api.attached(self._name) as chunks:
            await self._begin()
            self._started = True
            self._runs.set()
            with contextlib.closing(self._outputs):
                await in_thread(self._note_start, within=DISK_SECONDS)
                async for chunk in chunks:
                    await asyncio.to_thread(self._outputs.feed, chunk)
                    if self._outputs.over:
                        break
        self._heard_until = time.monotonic()
        return self._outputs.over

    def _note_start(self) -> None:
        self._run.on_started(None)
        self._outputs.open()

    async def _begin(self) -> None:
        """An engine that goes away before it answers may have started the container all the same, or is about to."""
        try:
            await finish(self._api.start(self._name), within=START_SECONDS)
        except EngineAway:
            state = await self._settled(lambda state: state.has_begun, within=STARTED_SECONDS)
            if state is None or not state.has_begun:
                raise

    # ---- from wherever it is ----------------------------------------------------------------------------------------

    async def _resume(self) -> RunEnd:
        _log.info("Execution %s goes on in its container %s.", self._run.execution_id, self._name)
        state = await self._found()
        if state is None or not state.has_begun:
            return LOST
        if not state.is_running and started_before_boot(state):
            return MACHINE_RESTARTED
        await self._watched()
        self._runs.set()
        return await self._collect()

    async def _watched(self) -> None:
        """From now on an end from outside is not taken for one of the task's own."""
        await self._signals.ready()
        self._epoch = self._signals.epoch
        if not self._facts.version:  # it was away when this run began
            self._facts = await self._api.facts()

    async def _collect(self) -> RunEnd:
        """Wait for the end of a container that runs, or has ended."""
        if await self._is_told_to_have_succeeded():
            self._run.on_over()
            return Exited(0)
        state = await self._ended()
        if state is not None:
            self._run.on_over()
            if self._run.resumed and state.started_seconds:
                self._run.usage.run_seconds = max(0.0, state.ended_seconds - state.started_seconds)
            state = await with_kernel_s_word(state, self._facts)
        if state is None or not await self._ended_by_itself(state):
            return LOST
        if self._was_away or self._run.resumed or self._may_lack_output():
            problem = await self._read_log()
            if problem:
                return problem
        return await self._judged(state)

    async def _is_told_to_have_succeeded(self) -> bool:
        """As most do; then the engine need not be asked. It may tell nothing, so this is waited for briefly."""
        if self._was_away or self._run.resumed or not self._facts.tells_ends:
            return False
        try:
            async with asyncio.timeout(TOLD_AT_ONCE_SECONDS):
                await self._told.has_died.wait()
        except TimeoutError:
            return False
        is_known = self._signals.epoch == self._epoch and not self._told.was_stopped and not self._may_lack_output()
        return is_known and self._told.exit_code == "0"

    def _may_lack_output(self) -> bool:
        """Whether the stream of the output may have broken off before its end, as behind a proxy: it ended long before.

        A task may also have closed its outputs; then the log says the same. Where it would say less, it is not asked.
        """
        if self._outputs.is_cut:
            return True
        ended_early = time.monotonic() - self._heard_until > EARLY_SECONDS
        return ended_early and self._outputs.logged_bytes < LOG_FILE_BYTES

    async def _ended(self) -> ContainerState | None:
        """How the container is when it has ended; None if it is gone, or somebody else has started it again."""
        while True:
            if self._was_away and not await self._outlived_engine():
                return None
            try:
                exit_code = await first_of(self._api.wait(self._name), self._told_of_end())
            except EngineAway:
                self._was_away = True
                continue
            except EngineRefusal as error:
                if error.status != _NOT_FOUND:
                    raise
                return None
            state = await self._settled(partial(ContainerState.has_ended_with, exit_code=exit_code))
            if state is None or state.has_ended:
                return state if state is None or exit_code in {None, state.exit_code} else None
            if exit_code is not None or self._told.has_died.is_set():
                return None

    async def _told_of_end(self) -> None:
        """Podman goes on waiting for the end of a container that was restarted."""
        await self._told.has_died.wait()

    async def _settled(
        self, agrees: Callable[[ContainerState], bool], *, within: float = SETTLED_SECONDS
    ) -> ContainerState | None:
        """How the container is as soon as it agrees with what was heard of it otherwise, or after a while."""
        deadline = time.monotonic() + within
        while True:
            state = await self._found()
            if state is None or agrees(state) or time.monotonic() > deadline:
                return state
            await asyncio.sleep(POLL_SECONDS)

    async def _outlived_engine(self) -> bool:
        """An engine that restarts ends its containers, unless it was told to restore them."""
        state = await self._found()
        if state is not None and state.is_running:
            await self._watched()
            return True
        return state is not None and self._facts.is_outlived

    async def _ended_by_itself(self, state: ContainerState) -> bool:
        """Decided when the engine has told the end too, because what led to it is told before that or soon after."""
        if self._signals.epoch != self._epoch:
            self._was_away = True
        if self._was_away and not self._facts.is_outlived:
            return False
        if self._was_away or self._run.resumed:
            until = max(state.ended_seconds + LATE_SECONDS, time.time() + 1.0)
            self._signals.take(await self._api.history(self._name, since=state.created_seconds, until=until))
            if state.exit_code in _STOPPED and not self._told.has_died.is_set():
                return False  # the engine has forgotten how it ended
        else:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TOLD_SECONDS):
                    await self._told.has_died.wait()
        # Whoever stops a container without a signal of their own kills it, because the specification says so.
        if state.exit_code in _STOPPED and not state.oom_killed:
            await self._told.explained(EXPLAINED_SECONDS)
        return not self._told.was_stopped

    async def _found(self) -> ContainerState | None:
        """What the engine says of the container, as soon as it says anything. Raises EngineAway after a while."""
        within = self._limits.outlived_wait_seconds if self._facts.is_outlived else self._limits.engine_wait_seconds
        deadline = time.monotonic() + within
        while True:
            try:
                return await self._api.inspect(self._name)
            except EngineRefusal as error:
                if error.status != _NOT_FOUND:
                    raise
                return None
            except EngineAway:
                if time.monotonic() > deadline:
                    raise
            await asyncio.sleep(POLL_SECONDS)

    async def _read_log(self) -> Broken | None:
        heard = {} if self._run.resumed else self._outputs.written
        loses_newlines = self._facts.loses_newlines
        problem = await read_log(self._api, self._name, self._outputs, loses_newlines=loses_newlines, heard=heard)
        return over_output(self._outputs.over, self._limits.output_limit_bytes) if self._outputs.over else problem

    # ---- the end ----------------------------------------------------------------------------------------------------

    async def _judged(self, state: ContainerState) -> RunEnd:
        if state.exit_code == 0:
            return Exited(0)
        if state.exit_code in _NO_COMMAND:
            params = read_params(self._run.task.engine.params, DockerParams)
            problem = await asyncio.to_thread(not_started, self._run.workspace.result / STDERR, params)
            if problem:
                return problem
        return await self._killed_for_memory(state) or Exited(state.exit_code)

    async def _killed_for_memory(self, state: ContainerState) -> Broken | None:
        limit_bytes = self._run.resources.memory and memory_limit(self._run.resources)
        if state.is_starved and limit_bytes:
            return STARVED
        is_told = self._told.ran_out_of_memory or state.oom_killed
        if is_told or (await self._api.inspect(self._name)).oom_killed:
            return out_of_memory(limit_bytes)
        is_unknown = state.oom_killed is None and not self._facts.tells_kills
        if is_unknown and state.exit_code == KILLED and limit_bytes:
            return most_likely_out_of_memory(limit_bytes)
        return None

    async def _stop(self) -> None:
        if self._started:
            try:
                await self._end_politely()
            except (EngineAway, EngineRefusal, TimeoutError) as error:
                _log.debug("Container %s has not ended when it was asked to: %s", self._name, error)
            within = REMOVE_SECONDS / 2
            await take_over(self._api, self._name, self._run, self._facts, folders_only=True, within=within)
        await self._remove()

    async def _end_politely(self) -> None:
        await self._api.ask_to_stop(self._name)
        try:
            async with asyncio.timeout(self._limits.grace_seconds):
                await self._api.wait(self._name)
        except TimeoutError:
            async with asyncio.timeout(KILL_SECONDS):
                await self._api.kill(self._name)

    async def _remove(self) -> None:
        try:
            await self._api.remove(self._name)
        except (EngineAway, EngineRefusal) as error:
            _log.warning("Container %s cannot be removed now, which is tried again later: %s", self._name, error)

    async def _over_disk(self) -> Broken:
        limit_bytes, pause_seconds = self._run.resources.disk, self._limits.disk_check_seconds
        used = await disk_exceeded(
            self._run.workspace, limit_bytes, elsewhere=self._written_bytes, pause_seconds=pause_seconds
        )
        return over_disk(used, limit_bytes)

    async def _written_bytes(self) -> int:
        try:
            return await self._api.written_bytes(self._name)
        except (EngineAway, EngineRefusal, TimeoutError):  # not created yet, say; what is wrong the run itself notices
            return 0

    def _open_folders(self) -> None:
        """The image's user may be any, and has to be able to write here."""
        self._run.prepare()
        make_hosts_file(self._run)
        for each in self._run.task.result_paths:
            self._run.workspace.place(each.path).chmod(RESULT_FOLDER_MODE)
        if not has_the_node_s_user(self._facts):
            for secret in self._run.secrets:
                secret.file.chmod(FOR_ANY_USER)

    def _close_folders(self) -> None:
        for each in self._run.task.result_paths:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError, PermissionError):
                self._run.workspace.place(each.path).chmod(RESTORED_MODE, follow_symlinks=False)
