"""One language for conditions on labels, of jobs that choose nodes and of lists that choose jobs and nodes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import InvalidInput
from shared.jobs.label_selectors import conditions
from shared.jobs.rules import problems
from shared.jobs.spec import Constraint, Job
from tests.builders import new_task


@pytest.mark.parametrize(
    ("selector", "constraint"),
    [
        ("zone=a", Constraint(key="zone", operator="=", values=("a",))),
        ("zone == a", Constraint(key="zone", operator="==", values=("a",))),
        ("zone!=a", Constraint(key="zone", operator="!=", values=("a",))),
        ("zone in (a, b)", Constraint(key="zone", operator="in", values=("a", "b"))),
        ("zone notin (a)", Constraint(key="zone", operator="notin", values=("a",))),
        ("gpu", Constraint(key="gpu", operator="exists")),
        ("!gpu", Constraint(key="gpu", operator="!")),
        ("memory>8", Constraint(key="memory", operator="gt", values=("8",))),
        ("load<0.5", Constraint(key="load", operator="lt", values=("0.5",))),
        ("favour_zone=a", Constraint(key="favour_zone", operator="=", values=("a",))),
        ("image=ghcr.io/a/b:1@x+y", Constraint(key="image", operator="=", values=("ghcr.io/a/b:1@x+y",))),
        ("town=K\u00f6ln", Constraint(key="town", operator="=", values=("K\u00f6ln",))),
    ],
)
def test_a_condition_is_a_constraint(selector: str, constraint: Constraint) -> None:
    assert conditions([selector]) == (constraint,)


def test_commas_part_conditions_but_not_within_parentheses() -> None:
    assert [each.key for each in conditions(["a in (x,y),b, !c", "d"])] == ["a", "b", "c", "d"]


@pytest.mark.parametrize("text", ["zone in", "zone in ()", "=a", "a b", "a=b=c", "zone in (a", "a,", "a,,b", "zone=*"])
def test_what_is_no_selector_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="is not a label selector") as refused:
        conditions([text])
    assert "zone" not in refused.value.hint
    assert "env in (x,y)" in refused.value.hint


@pytest.mark.parametrize("text", ["memory>8GB", "memory<many", "memory>", "memory>nan"])
def test_only_numbers_are_larger_or_smaller(text: str) -> None:
    with pytest.raises(InvalidInput, match=f"memory[<>] takes a number, and '{text[7:]}' is none"):
        conditions([text])


@given(st.text(alphabet="abz019.-_/ ,()!=<>*;in", max_size=40))
def test_what_is_taken_is_a_constraint_that_a_job_may_have(text: str) -> None:
    try:
        found = conditions([text])
    except InvalidInput:
        return
    job = Job(
        constraints=found,
        count=1,
        namespace="default",
        type="batch",
        tasks=(new_task(),),
    )
    assert list(problems(job)) == []
