"""Pages of jobs: which ones an answer lists, and where the next one goes on, after the last that was looked at.

So jobs that come or go meanwhile neither repeat nor hide others, and no page costs more the further it is. A page looks
at a bounded number of jobs: it may hold fewer than were asked for, and the next one goes on from there.
"""

import base64
import heapq
import re
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import NamedTuple

import msgspec

from orchestrator.api.job_filters import JobFilter
from orchestrator.api.paging import MAX_PAGE, decoded, not_a_token, plain
from orchestrator.state.filing.job_index_tables import BY_ID, MODIFIED
from orchestrator.state.job_lists import JobLists, ListedJob, merged
from orchestrator.state.sorted_items import Key
from shared.errors import InvalidInput
from shared.jobs.namespaces import ALL_NAMESPACES

MOST_LOOKED_AT = 5000
"""For one page."""


class ListPlace(NamedTuple):
    """Of a job in an order. Those of different jobs are different."""

    at: int
    created: int
    id: str


def _created(entry: ListedJob) -> ListPlace:
    return ListPlace(entry.created, 0, entry.id)


def _modified(entry: ListedJob) -> ListPlace:
    return ListPlace(entry.modified, entry.created, entry.id)


def _by_id(entry: ListedJob) -> ListPlace:
    return ListPlace(0, 0, entry.id)


_ORDERS: dict[str, Callable[[ListedJob], ListPlace]] = {
    "": _created,
    "created_at": _created,
    "create_time": _created,
    "modified_at": _modified,
    "modify_time": _modified,
    "id": _by_id,
}


class JobWindow(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the list: `limit` jobs after a place, of which `left` are still to come where a page was not filled.

    `shown` of those after the place have been shown already, by an earlier version of Tarpon.
    """

    sort_by: str = ""
    descending: bool = False
    limit: int = MAX_PAGE
    left: int = 0
    after: ListPlace | None = None
    shown: int = 0

    @property
    def key(self) -> Callable[[ListedJob], ListPlace]:
        return _ORDERS[self.sort_by]

    def following(self, after: ListPlace, *, left: int = 0) -> str:
        """The token that asks for what comes after this place."""
        letter = "D" if self.descending else "A"
        fields = (self.sort_by, letter, self.limit, left, *after)
        return base64.urlsafe_b64encode(":".join(map(str, fields)).encode()).decode().rstrip("=")

    def after_fewer(self, page: Sequence[ListedJob], shown: int) -> str:
        """The token for what follows the first jobs of this page, where more than these are too much for an answer."""
        return self.following(self.key(page[shown - 1]), left=(self.left or self.limit) - shown)


_TOKEN = re.compile(
    r"([a-z_]{0,20}):([AD]):([0-9]{1,4}):([0-9]{1,4}):([0-9]{1,20}):([0-9]{1,20}):([A-Za-z0-9_-]{1,64})\Z", re.ASCII
)


def job_window(*, sort_by: str, descending: bool, limit: int, token: str) -> JobWindow:
    """What a reader asks for; a token decides alone. Raises InvalidInput for one that was not made here."""
    if not token:
        if sort_by not in _ORDERS:
            known = ", ".join(name for name in _ORDERS if name)
            raise InvalidInput(f"The list cannot be ordered by {sort_by[:80]!r}.", hint=f"Orders are {known}.")
        return JobWindow(sort_by=sort_by, descending=descending, limit=min(limit or MAX_PAGE, MAX_PAGE))
    found = _TOKEN.match(plain(token[:300]))
    if found is None:
        return _of_earlier_version(token)
    if found[1] not in _ORDERS or not 1 <= int(found[3]) <= MAX_PAGE:
        raise not_a_token(token)
    return JobWindow(
        sort_by=found[1],
        descending=found[2] == "D",
        limit=int(found[3]),
        left=min(int(found[4]), int(found[3])),
        after=ListPlace(int(found[5]), int(found[6]), found[7]),
    )


def _of_earlier_version(token: str) -> JobWindow:
    """Its lists began with the newest jobs, and counted what had been shown. Raises InvalidInput."""
    begun = decoded(token)
    if begun.sort_by not in _ORDERS:
        raise not_a_token(token)
    return JobWindow(sort_by=begun.sort_by, descending=not begun.reverse, limit=begun.limit, shown=begun.offset)


def job_page(lists: JobLists, wanted: JobFilter, window: JobWindow) -> tuple[list[ListedJob], str]:
    """The jobs of this part, and the token for what follows; empty where nothing does."""
    found: list[ListedJob] = []
    room, last, shown = window.left or window.limit, None, 0
    is_by_age, looked_at = window.key is _created, 0
    for entry in _in_order(lists, wanted, window):
        if looked_at >= MOST_LOOKED_AT and last is not None and shown >= window.shown:
            return found, window.following(window.key(last), left=room - len(found))
        if is_by_age and window.descending and entry.created < wanted.since:
            break  # and so are all that follow
        if wanted.admits(entry):
            if shown < window.shown:
                shown += 1
            elif len(found) == room and last is not None:
                return found, window.following(window.key(last))
            else:
                found.append(entry)
        last = entry
        looked_at += entry.looked_at
        if entry.looked_at > 1 and looked_at >= MOST_LOOKED_AT and shown >= window.shown:
            return found, window.following(window.key(entry), left=room - len(found))
    return found, ""


def _in_order(lists: JobLists, wanted: JobFilter, window: JobWindow) -> Iterable[ListedJob]:
    """What may be wanted, from where the part begins; more than one page looks at."""
    after, descending = window.after, window.descending
    if window.key is _created:
        beyond = (after.at, after.id) if after is not None else None
        if not descending and (beyond is None or beyond[0] < wanted.since):
            beyond = (wanted.since, "")
        return _listed(lists, wanted, newest_first=descending, beyond=beyond)
    left = (
        entry
        for entry in _live(lists, wanted)
        if after is None or (window.key(entry) < after if descending else window.key(entry) > after)
    )
    choose = heapq.nlargest if descending else heapq.nsmallest
    live: Iterable[ListedJob] = choose(window.shown + MOST_LOOKED_AT + 1, left, key=window.key)
    order = BY_ID if window.key is _by_id else MODIFIED
    last = None if after is None else (after.id,) if order is BY_ID else after
    labels = () if _is_apart(wanted) else wanted.labels
    filed = lists.filed_in(order, wanted.namespaces, labels, newest_first=descending, beyond=last, only=wanted.of_rows)
    return merged(iter(live), filed, window.key, newest_first=descending)


def _is_apart(wanted: JobFilter) -> bool:
    """Who is limited to some namespaces is shown no other's job, nor told by a token where there is one."""
    return wanted.namespaces is not None and (wanted.limited or len(wanted.namespaces) != 1)


def _listed(
    lists: JobLists, wanted: JobFilter, *, newest_first: bool = False, beyond: Key | None = None
) -> Iterable[ListedJob]:
    namespaces = wanted.namespaces
    if namespaces is not None and _is_apart(wanted):
        return lists.of_namespaces(namespaces, newest_first=newest_first, beyond=beyond, only=wanted.of_rows)
    namespace = ALL_NAMESPACES if namespaces is None else next(iter(namespaces))
    return lists.in_order(namespace, wanted.labels, newest_first=newest_first, beyond=beyond, only=wanted.of_rows)


def _live(lists: JobLists, wanted: JobFilter) -> Iterable[ListedJob]:
    """Those in memory, in any order."""
    namespaces = wanted.namespaces
    if namespaces is not None and _is_apart(wanted):
        return chain.from_iterable(lists.live_in_order(each) for each in namespaces)
    return lists.live_in_order(ALL_NAMESPACES if namespaces is None else next(iter(namespaces)), wanted.labels)
