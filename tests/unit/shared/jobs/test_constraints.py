"""Labels fulfil constraints as Kubernetes' label selectors say."""

import pytest

from shared.jobs.constraints import OPERATORS, describe, fulfils
from shared.jobs.spec import Constraint

LABELS = {"zone": "a", "gpus": "4", "empty": "", "share": "0.5"}


def constraint(key: str, operator: str, *values: str) -> Constraint:
    return Constraint(key=key, operator=operator, values=values)


@pytest.mark.parametrize(
    ("key", "operator", "values", "expected"),
    [
        ("zone", "=", ["a"], True),
        ("zone", "==", ["a"], True),
        ("zone", "=", ["b"], False),
        ("zone", "=", ["A"], False),
        ("empty", "=", [""], True),
        ("zone", "!=", ["b"], True),
        ("zone", "!=", ["a"], False),
        ("zone", "in", ["b", "a"], True),
        ("zone", "in", ["b", "c"], False),
        ("zone", "notin", ["b", "c"], True),
        ("zone", "notin", ["b", "a"], False),
        ("zone", "exists", [], True),
        ("empty", "exists", [], True),
        ("zone", "!", [], False),
        ("gpus", "gt", ["3"], True),
        ("gpus", "gt", ["4"], False),
        ("gpus", "lt", ["4"], False),
        ("gpus", "lt", ["10"], True),
        ("share", "gt", ["0.25"], True),
        ("zone", "IN", ["a"], True),
        ("zone", "NotIn", ["a"], False),
    ],
)
def test_a_label_that_is_there(key: str, operator: str, values: list[str], *, expected: bool) -> None:
    assert fulfils(LABELS, constraint(key, operator, *values)) is expected


@pytest.mark.parametrize("operator", sorted(OPERATORS))
def test_a_label_that_is_not_there_fulfils_what_denies_it_and_nothing_else(operator: str) -> None:
    assert fulfils(LABELS, constraint("nowhere", operator, "1")) is (operator in {"!", "!=", "notin"})


@pytest.mark.parametrize("operator", ["gt", "lt"])
@pytest.mark.parametrize(
    ("key", "values"), [("zone", ["1"]), ("gpus", ["many"]), ("gpus", []), ("gpus", ["nan"]), ("empty", ["1"])]
)
def test_what_is_no_number_is_neither_greater_nor_less(operator: str, key: str, values: list[str]) -> None:
    assert not fulfils(LABELS, constraint(key, operator, *values))


def test_an_operator_that_is_none_is_never_fulfilled() -> None:
    assert not fulfils(LABELS, constraint("zone", "~", "a"))


@pytest.mark.parametrize("operator", sorted(OPERATORS))
def test_every_operator_can_be_fulfilled(operator: str) -> None:
    tries = [constraint(key, operator, value) for key in (*LABELS, "nowhere") for value in ("a", "2", "9")]
    assert any(fulfils(LABELS, each) for each in tries)


def test_a_constraint_is_described_as_it_is_written() -> None:
    assert describe(constraint("zone", "in", "a", "b")) == "zone in a, b"
    assert describe(constraint("zone", "exists")) == "zone exists"
