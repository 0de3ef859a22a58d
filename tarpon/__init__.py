"""The user's side of Tarpon: the command line, and for Python programs clients and executors."""

from importlib import import_module
from typing import TYPE_CHECKING

from tarpon.import_names import leave_working_directory, require_ours

leave_working_directory()
require_ours("shared")

if TYPE_CHECKING:
    from shared.jobs.states import DesiredState, ExecutionState, JobState
    from tarpon import errors, notebook
    from tarpon.blocking.client import SyncClient
    from tarpon.client import Client
    from tarpon.executor.asynchronous import AsyncExecutor
    from tarpon.executor.blocking import Executor

__all__ = [
    "AsyncExecutor",
    "Client",
    "DesiredState",
    "ExecutionState",
    "Executor",
    "JobState",
    "SyncClient",
    "errors",
    "notebook",
]

_MODULES = {
    "AsyncExecutor": "tarpon.executor.asynchronous",
    "Client": "tarpon.client",
    "Executor": "tarpon.executor.blocking",
    "SyncClient": "tarpon.blocking.client",
}
_SUBMODULES = {"errors", "notebook"}


def __getattr__(name: str) -> object:
    # `tarpon --help` must not pay for aiohttp.
    if name in _SUBMODULES:
        return import_module(f"tarpon.{name}")
    if name in __all__:
        return getattr(import_module(_MODULES.get(name, "shared.jobs.states")), name)
    raise AttributeError(f"module 'tarpon' has no attribute {name!r}")
