"""Whatever becomes of a node, it stays known when which key was its own, and no key gets an earlier life."""

from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from orchestrator.rules.joining.key_lives import MOST_LIVES, is_shut_out, kept, owned, with_owner
from orchestrator.rules.records import BindingRecord, EarlierKey, KeyLife, NodeKeysRecord, decode_record
from shared.ids import NodeId

NODE = NodeId("n-1")


class Name:
    """A name of nodes, and what is stored of it; each thing that happens takes a second."""

    def __init__(self) -> None:
        self.now = 100
        self.binding: BindingRecord | None = None
        self.record: NodeKeysRecord | None = None

    def join(self, key: str, token: str = "t", *, owner: str = "maria", **more: Any) -> None:
        self.now += 1
        joined = BindingRecord(public_key=key, since=self.now, token=token, owner=owner, **more)
        self._bound(joined)

    def reject(self) -> None:
        self._changed(rejected=self.now + 1, rekey="")

    def rekey(self, token: str = "another") -> None:
        self._changed(rejected=self.now + 1, rekey=token)

    def approve(self) -> None:
        self._changed(rejected=0, rekey="")

    def delete(self) -> None:
        self._bound(None)

    def rewritten_by_an_earlier_version(self) -> None:
        self._changed(since=0, owner="", earlier=())

    def _changed(self, **change: Any) -> None:
        if self.binding is not None:
            self._bound(replace(self.binding, **change))

    def _bound(self, binding: BindingRecord | None) -> None:
        self.now += 1
        self.binding = owned(binding, self.record) if binding is not None else None
        self.record = kept(NODE, self.record, self.binding, self.now)
        assert kept(NODE, self.record, self.binding, self.now + 1000) == self.record, "nothing is left to be kept"

    @property
    def lives(self) -> tuple[KeyLife, ...]:
        return self.record.lives if self.record is not None else ()

    @property
    def told(self) -> list[tuple[str, str]]:
        return [(each.public_key, each.ended) for each in self.lives]


@pytest.fixture
def name() -> Name:
    found = Name()
    found.join("K1")
    return found


def test_a_key_has_a_life_from_its_join_on(name: Name) -> None:
    (only,) = name.lives
    assert (only.public_key, only.since, only.until, only.ended, only.owner) == ("K1", 101, 0, "", "maria")


def test_what_was_is_known_when_a_node_has_gone_and_another_has_its_name(name: Name) -> None:
    name.delete()
    gone = name.lives
    assert name.told == [("K1", "Deleted")]
    name.join("K2", owner="eve")
    assert name.lives[:1] == gone
    assert (name.told[1], name.lives[1].owner, name.lives[1].since > gone[0].until) == (("K2", ""), "eve", True)


def test_a_key_that_comes_back_begins_another_life_with_the_owner_of_its_new_token(name: Name) -> None:
    name.delete()
    name.join("K1", owner="")
    assert name.told == [("K1", "Deleted"), ("K1", "")]
    assert (name.lives[1].owner, name.binding and name.binding.owner) == ("", "")
    assert name.lives[1].since > name.lives[0].until


def test_a_node_whose_deletion_nobody_has_noted_inherits_nothing_when_it_joins_again(name: Name) -> None:
    """With the same key and token, as where an orchestrator died in between, or does not know of lives."""
    assert name.record is not None
    name.record = with_owner(name.record, "eve", 150)
    name.now = 200
    name.join("K1", owner="maria")
    assert [(each.since, each.until, each.owner) for each in name.lives] == [
        (101, 150, "maria"),
        (150, 201, "eve"),
        (201, 0, "maria"),
    ]
    assert name.binding is not None
    assert name.binding.owner == "maria"


def test_a_clock_that_is_behind_begins_no_life_again_and_again(name: Name) -> None:
    assert name.binding is not None
    record = with_owner(name.record or NodeKeysRecord(node=NODE), "eve", 50)
    assert [each.owner for each in record.lives] == ["maria", "eve"]
    assert kept(NODE, record, name.binding, 51) == record
    rejected = kept(NODE, record, replace(name.binding, rejected=60), 61)
    approved = kept(NODE, rejected, replace(name.binding), 62)
    assert kept(NODE, approved, name.binding, 63) == approved


def test_what_an_earlier_version_drops_from_a_binding_stays_known(name: Name) -> None:
    before = name.lives
    name.rewritten_by_an_earlier_version()
    assert (name.lives, name.binding and name.binding.owner) == (before, "maria")
    name.rekey()
    name.rewritten_by_an_earlier_version()
    name.approve()
    assert [each.owner for each in name.lives] == ["maria", "maria"]


def test_a_key_that_joined_at_an_earlier_version_has_no_life_before_that(name: Name) -> None:
    name.delete()
    name.join("K1")
    assert name.binding is not None
    never_told = replace(name.binding, since=0)
    name.delete()
    name._bound(never_told)
    assert name.lives[-1].since > name.lives[-2].until


def test_a_rejected_key_gets_no_life_for_the_time_in_which_it_was_shut_out(name: Name) -> None:
    name.reject()
    (only,) = name.lives
    assert only.ended == "Rejected"
    name.approve()
    assert name.lives[0] == only
    assert (name.told[1], name.lives[1].since > only.until) == (("K1", ""), True)


def test_a_rejected_key_stays_shut_out_whoever_had_the_name_since(name: Name) -> None:
    name.reject()
    assert is_shut_out(name.record, "K1")
    name.join("K2")
    name.delete()
    assert is_shut_out(name.record, "K1")
    assert not is_shut_out(name.record, "K2")
    assert not is_shut_out(None, "K1")


@pytest.mark.parametrize("forgive", [Name.approve, Name.delete, Name.rekey], ids=["approved", "deleted", "rekeyed"])
def test_a_rejected_key_is_let_in_where_an_operator_wants_that(name: Name, forgive: Any) -> None:
    name.reject()
    ended_at = name.lives[0].until
    forgive(name)
    assert not is_shut_out(name.record, "K1")
    assert name.lives[0].until == ended_at


def test_the_oldest_lives_go_and_it_is_known_up_to_when(name: Name) -> None:
    for number in range(MOST_LIVES):
        name.delete()
        name.join(f"L{number}")
    assert (len(name.lives), name.lives[0].public_key) == (MOST_LIVES, "L0")
    assert name.record is not None
    assert 101 < name.record.forgotten < name.lives[0].since


EARLIER = (
    b'{"public_key":"K2","since":300,"earlier":[{"public_key":"K0","until":200},'
    b'{"public_key":"K1","since":200,"until":290}],"token":"t2","namespaces":["a"],"owner":"maria"}'
)


def test_the_earlier_keys_in_a_binding_as_it_was_written_before_are_taken_over() -> None:
    binding = decode_record("binding.n-1", EARLIER)
    assert isinstance(binding, BindingRecord)
    record = kept(NODE, None, binding, 1000)
    assert record is not None
    assert [(each.public_key, each.since, each.until, each.ended) for each in record.lives] == [
        ("K0", 0, 200, "Replaced"),
        ("K1", 200, 290, "Replaced"),
        ("K2", 300, 0, ""),
    ]
    assert {each.namespaces for each in record.lives} == {("a",)}
    gone = kept(NODE, record, None, 1000)
    assert gone is not None
    assert gone.lives[:2] == record.lives[:2]
    assert msgspec.json.encode(binding) == EARLIER


def test_keys_that_an_earlier_version_has_exchanged_meanwhile_are_taken_over(name: Name) -> None:
    """As where Tarpon was upgraded, put back for a while, and upgraded again."""
    earlier = (
        EarlierKey(public_key="K0", since=10, until=90),
        EarlierKey(public_key="K1", since=101, until=190),
        EarlierKey(public_key="K2", since=200, until=290),
    )
    record = kept(NODE, name.record, BindingRecord(public_key="K3", since=300, token="u", earlier=earlier), 1000)
    assert record is not None
    assert [(each.public_key, each.since, each.until, each.ended) for each in record.lives] == [
        ("K1", 101, 200, "Replaced"),
        ("K2", 200, 290, "Replaced"),
        ("K3", 300, 0, ""),
    ]


KEYS, TOKENS = st.sampled_from(["K1", "K2"]), st.sampled_from(["t", "u"])
STEPS = st.one_of(
    st.tuples(st.just(Name.join), KEYS, TOKENS),
    *(
        st.tuples(st.just(step))
        for step in (Name.reject, Name.rekey, Name.approve, Name.delete, Name.rewritten_by_an_earlier_version)
    ),
)


@given(st.lists(STEPS, max_size=12))
def test_no_life_begins_earlier_or_ends_later_than_it_did_whatever_happens(steps: list[Any]) -> None:
    name = Name()
    for step, *wanted in steps:
        before, began = name.lives, name.now
        step(name, *wanted)
        same = name.lives[: len(before)]
        assert [(each.public_key, each.since) for each in same] == [(each.public_key, each.since) for each in before]
        assert all(now.until == was.until for was, now in zip(before, same, strict=True) if was.ended)
        assert all(each.since > began for each in name.lives[len(before) :])
        assert all(one.since <= one.until <= other.since for one, other in pairwise(name.lives))
        open_ones = [each.public_key for each in name.lives if not each.ended]
        is_in = name.binding is not None and not name.binding.rejected
        assert open_ones == ([name.binding.public_key] if is_in and name.binding is not None else [])
