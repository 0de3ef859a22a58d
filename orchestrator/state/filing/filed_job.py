"""Filed jobs as lists see them: what the columns of the index have of each, and its place in a list."""

from typing import NamedTuple

import msgspec

from orchestrator.state.filing.job_index_tables import LARGEST, JobListing, Place
from orchestrator.state.job_records import ExitCodes
from shared.ids import JobId
from shared.jobs.states import JobState

_codes = msgspec.msgpack.Decoder(ExitCodes)
_labels = msgspec.msgpack.Decoder(dict[str, str])
_NO_LABELS: dict[str, str] = {}
_STATES = {state.value: state for state in JobState}


class FiledJob(NamedTuple):
    """What lists look at, as the columns have it."""

    id: JobId
    namespace: str
    name: str
    created: int
    modified: int
    state: str
    is_schedule: int
    packed_codes: bytes | None
    packed_labels: bytes | None
    looked_at: int
    """How many were looked at since the one before, of which this is the last."""

    @property
    def listed_state(self) -> JobState:
        return _STATES[self.state]

    @property
    def exit_codes(self) -> ExitCodes:
        return _codes.decode(self.packed_codes) if self.packed_codes else ()

    @property
    def labels(self) -> dict[str, str]:
        return _labels.decode(self.packed_labels) if self.packed_labels else _NO_LABELS


def place_of(job: FiledJob, listing: JobListing) -> Place:
    return tuple(getattr(job, column) for column in listing.order)


def farthest(listing: JobListing) -> Place:
    """The place after all others."""
    if listing.newest_first:
        return tuple("" if column == "id" else -1 for column in listing.order)
    return tuple("\U0010ffff" if column == "id" else LARGEST for column in listing.order)
