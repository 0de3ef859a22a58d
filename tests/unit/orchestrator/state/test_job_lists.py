"""Jobs are listed by creation, whatever the order in which they came, and found by namespace and labels."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.rules.label_selectors import matches, selector
from orchestrator.state.filing.job_index import JobIndex
from orchestrator.state.job_entry import JobEntry
from orchestrator.state.job_lists import JobLists
from shared.ids import JobId

SELECTORS = ["", "team=a", "team=a,env=x", "team!=a", "env", "!env", "team in (a,b)", "team=c"]
labels = st.dictionaries(st.sampled_from(["team", "env"]), st.sampled_from(["a", "b", "x"]))
wanted = st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["one", "two"]), labels, labels), max_size=12)


def entry(number: int, created: int, namespace: str, its_labels: dict[str, str]) -> JobEntry:
    made = JobEntry(JobId(f"j-{number}"))
    made.created, made.namespace, made.labels = created, namespace, its_labels
    return made


@given(wanted, st.sampled_from(SELECTORS), st.sampled_from(["*", "one", "two", "none"]), st.data())
def test_what_is_found_is_what_a_look_at_every_job_would_find(
    jobs: list[tuple[int, str, dict[str, str], dict[str, str]]], text: str, namespace: str, data: st.DataObject
) -> None:
    lists, known = JobLists(JobIndex()), []
    for number, (created, where, before, after) in enumerate(jobs):
        made = entry(number, created, where, before)
        lists.put(made, is_new=True)
        made.labels = after
        lists.put(made, is_new=False)
        known.append(made)
    for gone in data.draw(st.lists(st.sampled_from(known), unique_by=id)) if known else []:
        lists.drop(gone)
        known.remove(gone)
    conditions = selector([text] if text else [])
    expected = sorted(
        (each for each in known if namespace in {"*", each.namespace} and matches(each.labels, conditions)),
        key=lambda each: (each.created, each.id),
    )
    assert list(lists.find(namespace, conditions, newest_first=False)) == expected
    assert list(lists.find(namespace, conditions)) == expected[::-1]


@pytest.mark.parametrize("text", ["team=none", "team=a"])
def test_a_label_of_few_jobs_is_found_without_a_look_at_the_others(text: str) -> None:
    lists = JobLists(JobIndex())
    for number in range(100):
        lists.put(entry(number, number, "one", {"team": "a"} if number == 50 else {"team": "b"}), is_new=True)
    assert len(lists._shortest("*", selector([text]))) == (text == "team=a")


def test_nothing_is_left_of_jobs_that_have_gone() -> None:
    lists, made = JobLists(JobIndex()), entry(1, 1, "one", {"team": "a"})
    lists.put(made, is_new=True)
    lists.drop(made)
    assert (lists._of_namespace, lists._of_label, lists._labels) == ({}, {}, {})
