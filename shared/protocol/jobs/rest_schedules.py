"""Shapes of the HTTP API about schedules: what is asked of one, and what came of it."""

from typing import Literal

import msgspec
from msgspec import field

PAUSE, RESUME, RUN_NOW = "pause", "resume", "run-now"
Action = Literal["pause", "resume", "run-now"]


class ScheduleRequest(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """Have a schedule begin no further run, go on with what is due from now on, or begin a run at once.

    With a token a repeated request begins one run. What is due while a schedule is paused is not made up for.
    """

    action: Action
    reason: str = ""
    idempotency_token: str = ""


class ScheduleResponse(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """`changed` is false where the schedule was paused already. `run_id` is the job of the run that was asked for."""

    job_id: str = field(name="JobID")
    changed: bool = True
    run_id: str = field(name="RunID", default="")
