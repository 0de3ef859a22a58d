"""Allowances: so much a second for each, and those who wait come one after the other."""

import pytest

from orchestrator.admission.bounds.allowance import Allowance


def test_what_is_reserved_comes_in_turn_however_many_ask_at_once() -> None:
    allowance = Allowance(per_second=10, burst=20)
    assert [allowance.reserve("maria", 10, now=100.0) for _ in range(6)] == pytest.approx([0, 0, 1, 2, 3, 4])
    assert allowance.reserve("jens", 10, now=100.0) == 0
    assert allowance.reserve("maria", 10, now=104.0) == pytest.approx(1)
