"""Pinned needs: which versions of which jobs one waits for, and what follows for it from how those have ended."""

from collections.abc import Collection

import msgspec

from shared.ids import JobId
from shared.jobs.states import JobState

MAX_WHY = 300


class PinnedNeed(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A version of a job, which is `called` so to users; with `any_code` its exit codes do not matter."""

    job: JobId
    version: int
    called: str
    any_code: bool = False


class NeededVersion(msgspec.Struct, frozen=True, kw_only=True):
    """How a needed version stands. The `codes` are those with which its parts have ended.

    Where another version took its place, that is `replaced_by`.
    """

    state: JobState
    message: str = ""
    codes: Collection[int] = ()
    ended_at: int = 0
    replaced_by: int = 0


class Met(msgspec.Struct, frozen=True):
    """It is as it has to be, since this instant."""

    since: int


class InVain(msgspec.Struct, frozen=True):
    """It will never be as it has to be, in a sentence; `by_stop` is whether somebody stopped it."""

    why: str
    by_stop: bool = False


def verdict(need: PinnedNeed, found: NeededVersion | None) -> Met | InVain | None:
    """None while it is waited for; `found` is None where it is not known any more."""
    job = f"job {need.called[:80]}, which this one needs,"
    if found is None:
        return InVain(f"J{job[1:]} was deleted.")
    match found.state:
        case JobState.COMPLETED:
            wrong = sorted({code for code in found.codes if code})
            if need.any_code or not wrong:
                return Met(found.ended_at)
            codes = ", ".join(map(str, wrong[:5]))
            return InVain(f"J{job[1:]} ended with exit code {codes}. `On: completed` would take any.")
        case JobState.FAILED:
            return InVain(f"J{job[1:]} has failed: {found.message}"[:MAX_WHY])
        case JobState.STOPPED:
            return InVain(f"{job} was stopped", by_stop=True)
        case JobState.PENDING | JobState.QUEUED | JobState.RUNNING:
            if found.replaced_by:
                version = f"version {need.version} of {need.called[:80]}, which this one needs,"
                return InVain(f"V{version[1:]} had not ended when version {found.replaced_by} took its place.")
            return None


def waits_for(needs: Collection[PinnedNeed]) -> str:
    """Why a job waits for these, of which there is at least one."""
    first = [need.called[:80] for need in needs][:5]
    more = f" and {len(needs) - len(first):,} more" if len(needs) > len(first) else ""
    return f"It waits for {', '.join(first)}{more}."
