"""A revision was seen or not, however large it is."""

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.storage.start.seen_revisions import SeenRevisions

revisions = st.one_of(st.integers(0, 70), st.integers(0, 1 << 17), st.integers(0, 1 << 62))


@given(seen=st.sets(revisions), others=st.sets(revisions))
def test_those_and_no_others_were_seen(seen: set[int], others: set[int]) -> None:
    found = SeenRevisions()
    for each in seen:
        found.add(each)
    assert {each for each in seen | others if each in found} == seen
