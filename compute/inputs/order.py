"""The order of inputs: what is to be fetched for one execution."""

from collections.abc import Callable
from dataclasses import dataclass, field

from compute.disk.workspace import Workspace
from shared.ids import ExecutionId
from shared.jobs.spec import Task
from shared.protocol.results.provenance import Resource


@dataclass(frozen=True, kw_only=True)
class InputOrder:
    """What is to be fetched for an execution whose folder is there. `disk_bytes` is what it may fill; 0 is no limit.

    With `is_shown` its engine can show it what others have in common with it; else it has copies of its own.
    `on_progress` is told in a sentence how far it is, and `on_known` what it is that is read.
    """

    execution_id: ExecutionId
    task: Task
    workspace: Workspace
    disk_bytes: int = 0
    is_shown: bool = False
    on_progress: Callable[[str], None] = field(default=lambda _: None, repr=False)
    on_known: Callable[[tuple[Resource, ...]], None] = field(default=lambda _: None, repr=False)
