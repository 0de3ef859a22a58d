"""What a node may do in NATS is what it needs, and only in its own name."""

import inspect

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.ids import JobId, NodeId, execution_key
from shared.ids import node_id as checked_node_id
from shared.protocol import subjects

NODE = NodeId("n-1")
# What a node does; compute/service.py wires nothing else.
PUBLISHED = (subjects.node_reports, subjects.node_requests, subjects.node_heartbeat)
SUBSCRIBED = (subjects.node_orders,)
OTHER = (subjects.node_inbox, subjects.node_may_publish, subjects.node_may_subscribe, subjects.node_record)

node_ids = st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True).map(NodeId)


def matches(pattern: str, subject: str) -> bool:
    """As nats-server does it: `*` stands for one token, `>` at the end for one or more."""
    wanted, given_tokens = pattern.split("."), subject.split(".")
    for place, token in enumerate(wanted):
        if token == ">":
            return len(given_tokens) > place
        if place >= len(given_tokens) or token not in {"*", given_tokens[place]}:
            return False
    return len(wanted) == len(given_tokens)


def published(node: NodeId) -> list[str]:
    return [subject(node) for subject in PUBLISHED]


def subscribed(node: NodeId) -> list[str]:
    return [*(subject(node) for subject in SUBSCRIBED), f"{subjects.node_inbox(node)}.abc123.1"]


def may_publish(node: NodeId, subject: str) -> bool:
    return any(matches(pattern, subject) for pattern in subjects.node_may_publish(node))


def may_subscribe(node: NodeId, subject: str) -> bool:
    return any(matches(pattern, subject) for pattern in subjects.node_may_subscribe(node))


@pytest.mark.parametrize(
    ("pattern", "subject", "expected"),
    [
        ("a.b", "a.b", True),
        ("a.b", "a.b.c", False),
        ("a.b.c", "a.b", False),
        ("a.*", "a.b", True),
        ("a.*", "a.b.c", False),
        ("a.>", "a.b.c", True),
        ("a.>", "a", False),
    ],
)
def test_the_matching_of_these_tests_is_that_of_nats(pattern: str, subject: str, *, expected: bool) -> None:
    assert matches(pattern, subject) is expected


def test_every_subject_of_nodes_is_sorted_out_here() -> None:
    """Whoever adds a subject says who publishes it, and these tests then say whether a node may."""
    found = {name for name, _ in inspect.getmembers(subjects, inspect.isfunction) if name.startswith("node_")}
    assert found == {function.__name__ for function in (*PUBLISHED, *SUBSCRIBED, *OTHER)}


@settings(max_examples=40, deadline=None)
@given(node=node_ids, other=node_ids)
def test_a_node_may_do_what_it_needs_and_nothing_in_the_name_of_another(node: NodeId, other: NodeId) -> None:
    assert all(may_publish(node, subject) for subject in published(node))
    assert all(may_subscribe(node, subject) for subject in subscribed(node))
    if other != node:
        assert not any(may_publish(node, subject) for subject in published(other))
        assert not any(may_subscribe(node, subject) for subject in subscribed(other))


@pytest.mark.parametrize(("node", "other"), [("n-1", "n-10"), ("n-10", "n-1"), ("N-1", "n-1"), ("in", "out")])
def test_ids_that_look_alike_are_not_mixed_up(node: str, other: str) -> None:
    assert not any(may_publish(NodeId(node), subject) for subject in published(NodeId(other)))
    assert not any(may_subscribe(NodeId(node), subject) for subject in subscribed(NodeId(other)))


def test_a_node_may_not_give_orders_nor_read_what_it_sends() -> None:
    assert not may_publish(NODE, subjects.node_orders(NODE))
    assert not any(may_subscribe(NODE, subject) for subject in published(NODE))


@pytest.mark.parametrize(
    "subject",
    [
        ">",
        "_INBOX.>",
        "_INBOX.abc",
        "$JS.API.STREAM.LIST",
        "$SYS.>",
        "$KV.tarpon_state.job.j-1",
        subjects.AUTH_REQUESTS,
        subjects.ALL_NODE_ORDERS,
        subjects.ALL_NODE_REPORTS,
        subjects.ALL_NODE_REQUESTS,
        subjects.ALL_NODE_HEARTBEATS,
        subjects.ALL_API_REQUESTS,
        subjects.ALL_EVENTS,
        subjects.REPORTS_DELIVERY,
        f"{subjects.PREFIX}.>",
        f"{subjects.PREFIX}.node.>",
        f"{subjects.PREFIX}.node.*.out.reports",
    ],
)
def test_a_node_has_no_part_in_anything_else(subject: str) -> None:
    assert not may_publish(NODE, subject)
    assert not may_subscribe(NODE, subject)


def test_no_permission_has_a_wildcard_before_the_id() -> None:
    for pattern in (*subjects.node_may_publish(NODE), *subjects.node_may_subscribe(NODE)):
        head, id_found, tail = pattern.partition(NODE)
        assert id_found
        assert not set(head) & set("*>")
        assert tail.endswith(".>")


@settings(max_examples=40, deadline=None)
@given(node=node_ids)
def test_what_nodes_send_reaches_the_orchestrator_and_says_who_sent_it(node: NodeId) -> None:
    for pattern, subject in (
        (subjects.ALL_NODE_REPORTS, subjects.node_reports(node)),
        (subjects.ALL_NODE_REQUESTS, subjects.node_requests(node)),
        (subjects.ALL_NODE_HEARTBEATS, subjects.node_heartbeat(node)),
        (subjects.ALL_NODE_ORDERS, subjects.node_orders(node)),
    ):
        assert matches(pattern, subject)
        assert subjects.sender(subject) == node
    assert subjects.node_inbox(node).count(".") == 1


@pytest.mark.parametrize(
    "subject",
    [
        "",
        "tarpon",
        "tarpon.v1.node.n-1",
        "tarpon.v2.node.n-1.out.reports",
        "tarpon.v1.job.n-1.out.reports",
        "tarpon.v1.node..out.reports",
        "tarpon.v1.node.*.out.reports",
        "tarpon.v1.node.n 1.out.reports",
        "tarpon.v1.node." + "n" * 65 + ".out.reports",
        "other.tarpon.v1.node.n-1.out.reports",
        "_INBOX.n-1.abc",
    ],
)
def test_a_subject_that_speaks_for_no_node_has_no_sender(subject: str) -> None:
    assert subjects.sender(subject) is None


class TestSpelling:
    """Other programs and other versions find things by these names, so none of them ever changes."""

    def test_subjects(self) -> None:
        assert published(NODE) == [
            "tarpon.v1.node.n-1.out.reports",
            "tarpon.v1.node.n-1.out.requests",
            "tarpon.v1.node.n-1.out.heartbeat",
        ]
        assert subscribed(NODE) == ["tarpon.v1.node.n-1.in.orders", "_INBOX.n-1.abc123.1"]

    def test_keys(self) -> None:
        job = JobId("j-1")
        assert [
            subjects.name_record("default", "a job / ü"),
            subjects.job_record(job),
            subjects.spec_record(job, 2),
            subjects.execution_record(execution_key(job, 1, 2, 3)),
            subjects.node_record(NODE),
            subjects.binding_record(NODE),
            subjects.keys_record(NODE),
        ] == [
            "name.ZGVmYXVsdA.YSBqb2IgLyDDvA",
            "job.j-1",
            "spec.j-1.2",
            "execution.j-1.1.2.3",
            "node.n-1",
            "binding.n-1",
            "keys.n-1",
        ]

    def test_streams_and_buckets(self) -> None:
        names = (subjects.REPORTS_STREAM, subjects.STATE_BUCKET, subjects.LEASE_BUCKET, subjects.LEASE_KEY)
        assert names == ("TARPON_REPORTS", "tarpon_state", "tarpon_lease", "leader")


names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=30)


@settings(max_examples=60, deadline=None)
@given(first=st.tuples(names, names), second=st.tuples(names, names))
def test_any_name_is_one_token_and_no_two_names_share_a_key(first: tuple[str, str], second: tuple[str, str]) -> None:
    key, other = subjects.name_record(*first), subjects.name_record(*second)
    assert (key == other) == (first == second)
    _, namespace, name = key.split(".")
    assert checked_token(namespace)
    assert checked_token(name)


def checked_token(token: str) -> bool:
    """Whether JetStream takes it as a part of a key, which allows more than an id and is longer."""
    return bool(token) and all(checked_node_id(letter) for letter in token)
