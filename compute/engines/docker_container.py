"""How one task runs in a container from its creation to its end, whatever dies meanwhile.

While the node lives it reads the output as it comes. Where it was away, or the engine was, the output is read again
from the engine's own log when the container has ended.
"""

import asyncio
import contextlib
import logging
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from compute.engines.docker_api import ContainerState, DockerApi, EngineAway, EngineFacts, EngineRefusal
from compute.engines.docker_images import Images
from compute.engines.docker_output import Outputs
from compute.engines.docker_params import parse_params
from compute.engines.docker_spec import (
    LOG_FILE_BYTES,
    RESULT_FOLDER_MODE,
    Confinement,
    container_name,
    container_spec,
    memory_limit,
)
from compute.engines.engine import Broken, Exited, Run, RunEnd
from compute.workspace import STDERR
from shared.aio import finish
from shared.states import FailureReason

_log = logging.getLogger(__name__)

POLL_SECONDS = 0.25
START_SECONDS = 120.0
REMOVE_SECONDS = 90.0
RESTORED_MODE = 0o755
_NOT_FOUND, _NOT_EXECUTABLE = 127, 126
_INIT_FAILED = (b"[FATAL tini", b"catatonit: failed to exec")
"""What the engine's init process writes when there is no such command in the image."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    grace_seconds: float
    output_limit_bytes: int
    engine_wait_seconds: float
    """How long a running task may wait for an engine that has stopped answering."""


class ContainerRun:
    """One run. Only `Exited` leaves the container behind, so that its output can be read again if the node dies."""

    def __init__(
        self, run: Run, api: DockerApi, images: Images, *, facts: EngineFacts, confinement: Confinement, limits: Limits
    ) -> None:
        self._run = run
        self._api = api
        self._images = images
        self._facts = facts
        self._confinement = confinement
        self._limits = limits
        self._name = container_name(run.execution_id)
        self._outputs = Outputs(run.workspace.result, limits.output_limit_bytes)
        self._started = run.resumed
        self._was_away = False

    def __repr__(self) -> str:
        return f"<ContainerRun {self._name}>"

    async def end(self) -> RunEnd:
        """Raises what `DockerApi` and `Images` raise, OSError where the node's disk fails, InvalidJob."""
        try:
            found = await (self._resume() if self._run.resumed else self._start())
            await asyncio.to_thread(self._close_folders)
        except BaseException:
            await finish(self._stop(), within=self._limits.grace_seconds + REMOVE_SECONDS)
            raise
        if isinstance(found, Broken):
            await finish(self._remove(), within=REMOVE_SECONDS)
        return found

    # ---- from the beginning -----------------------------------------------------------------------------------------

    async def _start(self) -> RunEnd:
        spec = container_spec(self._run, parse_params(self._run.task.engine.params), self._confinement, self._facts)
        await asyncio.to_thread(self._open_folders)
        try:
            await finish(self._api.create(self._name, spec), within=START_SECONDS)
        except EngineRefusal as error:
            if not _lacks_image(error):
                raise
            await self._images.pull(spec["Image"])
            await finish(self._api.create(self._name, spec), within=START_SECONDS)
        try:
            over = await self._attached()
        except EngineAway:
            if not self._started:
                raise
            self._was_away, over = True, ""
        return self._over_limit(over) if over else await self._collect()

    async def _attached(self) -> str:
        """Which of the outputs is too large; empty when both are closed."""
        async with self._api.attached(self._name) as chunks:
            await finish(self._api.start(self._name), within=START_SECONDS)
            self._started = True
            await self._run.on_started(None)
            with contextlib.closing(self._outputs):
                await asyncio.to_thread(self._outputs.open)
                async for chunk in chunks:
                    await asyncio.to_thread(self._outputs.feed, chunk)
                    if self._outputs.over:
                        break
        return self._outputs.over

    # ---- from wherever it is ----------------------------------------------------------------------------------------

    async def _resume(self) -> RunEnd:
        _log.info("Execution %s goes on in its container %s.", self._run.execution_id, self._name)
        state = await self._found()
        if state is not None and not state.is_running and _started_before_boot(state):
            return Broken(FailureReason.CONTAINER_LOST, "The machine was restarted, which ended the container.")
        return await self._collect()

    async def _collect(self) -> RunEnd:
        """Wait for the end of a container that runs, or has ended."""
        exit_code = await self._exit_code()
        if exit_code is None:
            detail = "The node's container engine was restarted, or the container was removed from outside."
            return Broken(FailureReason.CONTAINER_LOST, detail)
        if self._was_away or self._run.resumed:
            problem = await self._read_log()
            if problem:
                return problem
        return await self._judged(exit_code)

    async def _exit_code(self) -> int | None:
        """None if the container is gone, or has ended otherwise than by itself."""
        while True:
            if self._was_away and not await self._outlived_engine():
                return None
            try:
                return await self._api.wait(self._name)
            except EngineAway:
                self._was_away = True
            except EngineRefusal as error:
                if error.status != 404:
                    raise
                return None

    async def _outlived_engine(self) -> bool:
        """An engine that restarts ends its containers, unless it was told to restore them."""
        state = await self._found()
        return state is not None and (state.is_running or self._facts.live_restore)

    async def _found(self) -> ContainerState | None:
        """What the engine says of the container, as soon as it says anything. Raises EngineAway after a while."""
        deadline = time.monotonic() + self._limits.engine_wait_seconds
        while True:
            try:
                return await self._api.inspect(self._name)
            except EngineRefusal as error:
                if error.status != 404:
                    raise
                return None
            except EngineAway:
                if time.monotonic() > deadline:
                    raise
            await asyncio.sleep(POLL_SECONDS)

    async def _read_log(self) -> Broken | None:
        with contextlib.closing(self._outputs):
            await asyncio.to_thread(self._outputs.open)
            async with self._api.logged(self._name) as chunks:
                async for chunk in chunks:
                    await asyncio.to_thread(self._outputs.feed, chunk)
        if self._outputs.over:
            return self._over_limit(self._outputs.over)
        # Whenever the engine has thrown a part of its log away, at least one whole file is left.
        if self._outputs.logged_bytes >= LOG_FILE_BYTES:
            detail = "The node was restarted, and the task wrote more output meanwhile than the container engine keeps."
            return Broken(FailureReason.CONTAINER_LOST, detail)
        return None

    # ---- the end ----------------------------------------------------------------------------------------------------

    async def _judged(self, exit_code: int) -> RunEnd:
        if exit_code == 0:
            return Exited(0)
        if exit_code in {_NOT_FOUND, _NOT_EXECUTABLE}:
            message = await asyncio.to_thread(_init_message, self._run.workspace.result / STDERR)
            if message:
                detail = f"The command could not be started in {self._image()}: {message}"
                return Broken(FailureReason.TASK_NOT_STARTED, detail)
        if (await self._api.inspect(self._name)).oom_killed:
            limit = f"its limit of {memory_limit(self._run.resources):,} bytes" if self._run.resources.memory else "all"
            detail = f"The task needed more memory than {limit} (Resources.Memory) and was killed."
            return Broken(FailureReason.OUT_OF_MEMORY, detail)
        return Exited(exit_code)

    def _over_limit(self, over: str) -> Broken:
        limit = f"{self._limits.output_limit_bytes:,} bytes"
        return Broken(FailureReason.OUTPUT_LIMIT_EXCEEDED, f"The task wrote more than {limit} to {over}.")

    def _image(self) -> str:
        return parse_params(self._run.task.engine.params).image[:100]

    async def _stop(self) -> None:
        if self._started:
            try:
                await self._api.stop(self._name, grace_seconds=self._limits.grace_seconds)
            except (EngineAway, EngineRefusal) as error:
                _log.debug("Container %s could not be asked to stop: %s", self._name, error)
        await self._remove()

    async def _remove(self) -> None:
        try:
            await self._api.remove(self._name)
        except (EngineAway, EngineRefusal) as error:
            _log.warning("Container %s cannot be removed now, which is tried again later: %s", self._name, error)

    def _open_folders(self) -> None:
        """The image's user may be any, and has to be able to write here."""
        for each in self._run.task.result_paths:
            self._run.workspace.place(each.path).chmod(RESULT_FOLDER_MODE)

    def _close_folders(self) -> None:
        for each in self._run.task.result_paths:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                self._run.workspace.place(each.path).chmod(RESTORED_MODE, follow_symlinks=False)


def _lacks_image(error: EngineRefusal) -> bool:
    return error.status == 404 and "image" in error.message.lower()


def _init_message(stderr: Path) -> str:
    """What the engine's init process says; empty if the task itself has ended with such a code."""
    with stderr.open("rb") as file:
        line = file.readline(500)
    if not line.startswith(_INIT_FAILED):
        return ""
    return line.decode(errors="replace").rpartition("] ")[2].strip()


def _started_before_boot(state: ContainerState) -> bool:
    """The engine writes nanoseconds, of which Python reads the first six digits."""
    whole = state.started_at.partition(".")[0].rstrip("Z")
    try:
        started = datetime.fromisoformat(f"{whole}+00:00").timestamp()
    except ValueError:
        return False
    return started < time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) - 1.0
