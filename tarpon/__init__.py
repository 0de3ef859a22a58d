"""The user's side of Tarpon: the command line, and `Client` and `SyncClient` for Python programs."""

from typing import TYPE_CHECKING

from tarpon.import_names import leave_working_directory, require_ours

leave_working_directory()
require_ours("shared")

if TYPE_CHECKING:
    from shared.jobs.states import DesiredState, ExecutionState, JobState
    from tarpon.blocking.client import SyncClient
    from tarpon.client import Client

__all__ = ["Client", "DesiredState", "ExecutionState", "JobState", "SyncClient"]


def __getattr__(name: str) -> object:
    # `tarpon --help` must not pay for aiohttp.
    if name == "Client":
        from tarpon.client import Client

        return Client
    if name == "SyncClient":
        from tarpon.blocking.client import SyncClient

        return SyncClient
    if name in __all__:
        from shared.jobs import states

        return getattr(states, name)
    raise AttributeError(f"module 'tarpon' has no attribute {name!r}")
