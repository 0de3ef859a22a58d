"""Pages of jobs follow each other whatever happens meanwhile, and each looks at a bounded number of jobs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.api.job_filters import JobFilter, job_filter
from orchestrator.api.job_pages import MOST_LOOKED_AT, JobWindow, job_page, job_window
from orchestrator.state.filing.job_index import JobIndex
from orchestrator.state.job_entry import JobEntry
from orchestrator.state.job_lists import JobLists, ListedJob
from shared.errors import InvalidInput
from shared.ids import JobId
from shared.jobs.states import JobState

ORDERS = ["", "created_at", "modified_at", "id"]
ALL = JobFilter()


def entry(number: int, *, created: int | None = None, name: str = "") -> JobEntry:
    made = JobEntry(JobId(f"j-{number:06}"))
    made.created = number if created is None else created
    made.modified = number * 7919 % 1000
    made.namespace, made.name = "default", name or f"job-{number}"
    made.counted = JobState.FAILED if number % 10 == 0 else JobState.COMPLETED
    return made


def listed(*entries: JobEntry) -> JobLists:
    lists = JobLists(JobIndex())
    for each in entries:
        lists.put(each, is_new=True)
    return lists


def part(token: str = "", *, sort_by: str = "", descending: bool = False, limit: int = 10) -> JobWindow:
    return job_window(sort_by=sort_by, descending=descending, limit=limit, token=token)


def numbers(entries: list[ListedJob]) -> list[int]:
    return [int(each.id[2:]) for each in entries]


@given(
    created=st.lists(st.integers(0, 5), max_size=30),
    sort_by=st.sampled_from(ORDERS),
    descending=st.booleans(),
    limit=st.integers(1, 7),
    since=st.integers(0, 4),
)
def test_all_pages_together_are_the_whole_list_in_order(
    *, created: list[int], sort_by: str, descending: bool, limit: int, since: int
) -> None:
    entries = [entry(number, created=at) for number, at in enumerate(created)]
    lists, wanted = listed(*entries), JobFilter(since=since)
    first = part(sort_by=sort_by, descending=descending, limit=limit)
    found, token = job_page(lists, wanted, first)
    while token:
        more, token = job_page(lists, wanted, part(token))
        assert 1 <= len(more) <= limit
        found += more
    expected = sorted((each for each in entries if each.created >= since), key=first.key, reverse=descending)
    assert found == expected


@pytest.mark.parametrize("sort_by", ORDERS)
def test_jobs_that_come_meanwhile_neither_repeat_nor_hide_others(sort_by: str) -> None:
    entries = [entry(number) for number in range(20)]
    lists = listed(*entries)
    found, token = job_page(lists, ALL, part(sort_by=sort_by, descending=True))
    for number in range(20, 30):
        lists.put(entry(number), is_new=True)
    lists.drop(next(each for each in entries if each is found[-1]))
    while token:
        more, token = job_page(lists, ALL, part(token))
        found += more
    told = numbers(found)
    assert len(told) == len(set(told))
    assert set(range(20)) <= set(told)


@pytest.mark.parametrize("sort_by", ORDERS)
@pytest.mark.parametrize("descending", [True, False])
def test_a_page_looks_at_so_many_jobs_and_the_next_one_goes_on(*, sort_by: str, descending: bool) -> None:
    count = 3 * MOST_LOOKED_AT + 10
    lists = listed(*(entry(number, name="wanted" if number % 2500 == 0 else "") for number in range(count)))
    wanted = job_filter(namespaces=None, name="wan*", now=0)
    found, token = job_page(lists, wanted, part(sort_by=sort_by, descending=descending, limit=4))
    pages = 1
    while token and len(found) < 4:
        more, token = job_page(lists, wanted, part(token))
        found, pages = found + more, pages + 1
    assert len(found) == 4, "and no more than were asked for first"
    assert pages <= 4
    assert part(token).limit == 4


def test_by_state_jobs_are_found_as_they_are_counted() -> None:
    lists = listed(*(entry(number) for number in range(30)))
    found, token = job_page(lists, job_filter(namespaces=None, states=["failed"], now=0), part())
    assert (numbers(found), token) == ([0, 10, 20], "")


def test_a_look_for_new_jobs_ends_with_the_first_that_is_old() -> None:
    lists = listed(*(entry(number) for number in range(3 * MOST_LOOKED_AT)))
    wanted = JobFilter(since=3 * MOST_LOOKED_AT - 5)
    assert len(job_page(lists, wanted, part(descending=True))[0]) == 5
    assert job_page(lists, wanted, part(descending=True))[1] == ""
    assert len(job_page(lists, wanted, part())[0]) == 5


@pytest.mark.parametrize("token", ["x", "OjpZOjA", "YTpZOjEwOjA6MTpqOmo", "é", "a" * 1000])
def test_what_is_no_token_is_refused(token: str) -> None:
    with pytest.raises(InvalidInput, match="not a token of this list"):
        part(token)
