"""Engines: what one is asked for and what it answers."""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from compute.disk.input_files import MountedInput
from compute.disk.secret_files import MountedSecret
from compute.disk.workspace import Workspace
from compute.engines import reproducible
from compute.engines.task_usage import TaskUsage
from compute.processes.mark import ProcessMark
from shared.ids import ExecutionId
from shared.jobs.capacity import Capacity
from shared.jobs.engine_params import EngineParams
from shared.jobs.spec import Task
from shared.jobs.states import FailureReason


@dataclass(frozen=True, kw_only=True)
class Run:
    """One task to be run.

    The engine calls `prepare` before anything of the task exists, and `on_started` once, when the task runs, with what
    recognises it later. Both write to the disk, so they are called in a thread, and raise OSError. An engine whose
    tasks neither need their workspace nor leave anything behind does not call `prepare`, and `on_started` anywhere.

    `resumed`: an earlier process of this node has started it, in an engine whose tasks outlive the node. It is found
    again, its output is complete at the end, and neither is called.
    """

    execution_id: ExecutionId
    task: Task
    workspace: Workspace
    environment: Mapping[str, str] = field(repr=False)
    on_started: Callable[[ProcessMark | None], None] = field(repr=False)
    prepare: Callable[[], None] = field(default=lambda: None, repr=False)
    on_exited: Callable[[int], None] = field(default=lambda _: None, repr=False)
    """Blocks, and completes the result folder. An engine that is in a thread anyway may call it before it answers
    `Exited`, which saves another one."""
    on_over: Callable[[], None] = field(default=lambda: None, repr=False)
    """Told when the task runs no more, where its output and files take time to get, which is not the task's."""
    resources: Capacity = field(default_factory=Capacity)
    """What the task may use, where the engine can enforce it; zero is no limit."""
    devices: tuple[str, ...] | None = None
    """The ids of the GPUs that are the task's own while it runs; None on a node that gives none."""
    secrets: tuple[MountedSecret, ...] = ()
    """Files that `prepare` makes, and which the task is to see under their paths."""
    inputs: tuple[MountedInput, ...] = ()
    """What an engine that `shows_inputs` shows the task, to be read only. What is in the workspace is there already, as
    is everything where a task is resumed."""
    mask: Callable[[str], str] = field(default=str, repr=False)
    """Of words that are to be shortened: leaves out the secrets that the task was given."""
    resumed: bool = False
    usage: TaskUsage = field(default_factory=TaskUsage)
    """What the engine has seen of it; complete before `on_exited`."""
    on_progress: Callable[[str], None] = field(default=lambda _: None, repr=False)
    """Told in a sentence what the task waits for, before it runs."""

    def variables(self, of_engine: Mapping[str, str]) -> dict[str, str]:
        """What the task finds in its environment; `of_engine` are those of the engine's parameters."""
        fixed = reproducible.VARIABLES if self.task.reproducible else {}
        return {**fixed, **of_engine, **self.environment}


@dataclass(frozen=True)
class Exited:
    """The task has ended by itself, whatever it says about its success."""

    exit_code: int


@dataclass(frozen=True)
class Broken:
    """The task could not start, or was stopped because it broke a limit."""

    reason: FailureReason
    detail: str


RunEnd = Exited | Broken

NETWORK_NOT_OFFERED, NOT_REPRODUCIBLE = "NetworkNotOffered", "NotReproducible"


@dataclass(frozen=True)
class Unfit:
    """`reason` is a word that programs may know, as those above are; `detail` is a sentence."""

    reason: str
    detail: str


class Engine(Protocol):
    """How tasks of one kind are run: by an engine of Tarpon's own, or by one from outside (see plugin.py).

    Unless it says otherwise, a method is called on the event loop and may not block.
    """

    name: str

    @property
    def parameters(self) -> type[EngineParams]:
        """What a job may say in `Engine.Params`: names, types, and what else is wrong with them."""

    @property
    def shows_inputs(self) -> bool:
        """Whether its tasks see, under their targets, what they have in common with others and cannot change."""

    @property
    def isolation(self) -> str:
        """What keeps its tasks in their place, in a word; `none` if nothing does, empty if there is nothing to keep."""

    def unfit(self, task: Task) -> Unfit | None:
        """Why this node's engine never runs a task as it is, whatever its parameters are; None of one that it runs.

        One that is `reproducible` has to find the same surroundings in every engine (see reproducible.py).
        """

    async def run(self, run: Run) -> RunEnd:
        """Run the task. Cancelling stops it, with everything it started, before the cancellation goes on.

        Raises OSError where the node itself is the reason, such as a full disk.
        """

    def end_left_over(self, process: ProcessMark | None, execution_id: ExecutionId) -> int:
        """End what an earlier process of this node started and did not end. Blocks.

        `process` is what `on_started` was given, or None if the node was killed before it could note that.
        """


class OutlivingEngine(Engine):
    """An engine whose tasks go on when this process ends without stopping them, and which may be away itself.

    Such an engine says so by its class: to ask whether one is like this has to cost nothing.
    """

    @property
    @abstractmethod
    def available(self) -> bool:
        """Whether tasks can be started now."""

    @property
    @abstractmethod
    def offered(self) -> bool:
        """Whether it has been available since this process began, so that it may be so again."""

    @abstractmethod
    async def watch(self, on_change: Callable[[], None]) -> None:
        """Keep `available` up to date, until cancelled, and tell each change of it."""

    @abstractmethod
    def keep(self, execution_id: ExecutionId) -> None:
        """This task is going to be resumed: do not clear it away."""

    @abstractmethod
    def leave(self, execution_id: ExecutionId) -> bool:
        """Do not stop this task when its run is cancelled, nor clear it away; False if it is to end with the node."""

    @abstractmethod
    def release(self, execution_id: ExecutionId) -> None:
        """Whatever is left of this task is not needed any more. May be repeated, also for a task that never ran."""
