"""What is wrong of an envelope is told by a code and a sentence; the tampering is that of whoever holds the bucket."""

import base64
import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import nkeys
import pytest
from msgspec.structs import replace

from compute.journal.entry import Happening, Phase, new_entry
from compute.upload.provenance import NodeSigner
from shared.ids import JobId, NodeId
from shared.protocol.messages import ExecutionStarted, RunOutput, TaskEnded
from shared.protocol.published_facts import PublishedFacts
from shared.protocol.rest import ResultParams
from shared.protocol.rest_nodes import DELETED, REPLACED, NodeKeyView
from tarpon.verification.envelope_check import envelope_problems
from tests.builders import new_assignment

Tampering = Callable[[dict[str, Any]], None]

ENDED_AT = datetime(2026, 5, 1, 12, tzinfo=UTC)
FACTS = PublishedFacts(size_bytes=1, sha256="a" * 64, content_digest="c" * 64)
SEEDS = [nkeys.encode_seed(bytes([each] * 32), nkeys.PREFIX_BYTE_USER).decode() for each in (1, 2)]
KEYS = [nkeys.from_seed(bytearray(each, "ascii")).public_key.decode() for each in SEEDS]
LIFE = NodeKeyView(key=KEYS[0], since=ENDED_AT - timedelta(days=1))


def envelope(*, seed: str = SEEDS[0], node: str = "n-1", facts: PublishedFacts = FACTS, **assigned: Any) -> bytes:
    assignment = new_assignment(**({"execution_id": "e-1", "spec_digest": "f" * 64} | assigned))
    happened = (
        Happening(fact=ExecutionStarted(), at=ENDED_AT.timestamp() - 1),
        Happening(fact=TaskEnded(output=RunOutput(), run_seconds=1), at=ENDED_AT.timestamp()),
    )
    entry = replace(new_entry(assignment), phase=Phase.ENDED, happenings=happened)
    return NodeSigner(NodeId(node), seed, "0.1.0", {}).envelope(entry, facts, "d" * 64)


def params(signed: bytes) -> ResultParams:
    return ResultParams(
        pre_signed_url="",
        execution_id="e-1",
        job_version=1,
        sha256="a" * 64,
        content_digest="c" * 64,
        manifest_sha256="d" * 64,
        provenance_sha256=hashlib.sha256(signed).hexdigest(),
        provenance_key=KEYS[0],
        node_id="n-1",
        spec_digest="f" * 64,
    )


def codes(
    there: bytes,
    *,
    keys: tuple[NodeKeyView, ...] = (LIFE,),
    recorded: ResultParams | None = None,
    forgotten: datetime | None = None,
) -> list[str]:
    problems = list(envelope_problems(there, recorded or params(there), "j-1", keys, forgotten=forgotten))
    assert all(each.message.endswith(".") for each in problems)
    assert all(bool(each.hint) is (each.code == "KeyNotKept") for each in problems)
    return [each.code for each in problems]


def test_nothing_is_wrong_of_what_the_node_signed() -> None:
    assert codes(envelope()) == []
    assert codes(envelope(), keys=()) == [], "nobody knows its node any more"


def edited(*path: str | int) -> Tampering:
    """With the signature that was there."""

    def edit(found: dict[str, Any]) -> None:
        statement = json.loads(base64.b64decode(found["payload"]))
        place = statement
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = "e" * 64
        found["payload"] = base64.b64encode(json.dumps(statement).encode()).decode()

    return edit


WRONG, ANOTHER, MALFORMED = "SignatureWrong", "StatementOfAnother", "ProvenanceMalformed"
DEFINITION = ("predicate", "buildDefinition")
TAMPERINGS: dict[str, tuple[Tampering, list[str]]] = {
    "archive": (edited("subject", 0, "digest", "sha256"), [WRONG, ANOTHER]),
    "content": (edited("subject", 0, "annotations", "contentDigest"), [WRONG, ANOTHER]),
    "manifest": (edited("subject", 1, "digest", "sha256"), [WRONG, ANOTHER]),
    "exit code": (edited(*DEFINITION, "internalParameters", "exitCode"), [WRONG]),
    "specification": (edited(*DEFINITION, "resolvedDependencies", 0, "digest", "sha256"), [WRONG, ANOTHER]),
    "build type": (edited(*DEFINITION, "buildType"), [WRONG, ANOTHER]),
    "predicate type": (edited("predicateType"), [WRONG, ANOTHER]),
    "node": (edited("predicate", "runDetails", "builder", "id"), [WRONG, ANOTHER]),
    "time": (edited("predicate", "runDetails", "metadata", "finishedOn"), [WRONG, "KeyNotValid"]),
    "signature": (lambda found: found["signatures"][0].update(sig=base64.b64encode(bytes(64)).decode()), [WRONG]),
    "short signature": (lambda found: found["signatures"][0].update(sig=""), [WRONG]),
    "name of the key": (lambda found: found["signatures"][0].update(keyid=KEYS[1]), ["KeyOfAnother"]),
    "no signature": (lambda found: found.update(signatures=[]), ["KeyOfAnother"]),
    "type of the payload": (lambda found: found.update(payloadType="text/plain"), [MALFORMED]),
    "no payload": (lambda found: found.pop("payload"), [MALFORMED]),
    "payload of something else": (lambda found: found.update(payload="e30="), [MALFORMED]),
}


@pytest.mark.parametrize(("tamper", "expected"), TAMPERINGS.values(), ids=list(TAMPERINGS))
def test_what_was_edited_is_found_though_the_record_were_edited_too(tamper: Tampering, expected: list[str]) -> None:
    whole = envelope()
    found = json.loads(whole)
    tamper(found)
    there = json.dumps(found).encode()
    assert codes(there) == expected
    assert codes(there, recorded=params(whole)) == ["ProvenanceReplaced", *expected]


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ({"job_id": JobId("j-2")}, [ANOTHER]),
        ({"job_version": 2}, [ANOTHER]),
        ({"partition_index": 1}, [ANOTHER]),
        ({"execution_id": "e-2"}, [ANOTHER]),
        ({"facts": replace(FACTS, sha256="b" * 64)}, [ANOTHER]),
        ({"node": "n-2", "seed": SEEDS[1]}, ["KeyOfAnother", ANOTHER]),
        ({"seed": SEEDS[1]}, ["KeyOfAnother"]),
    ],
    ids=str,
)
def test_a_true_envelope_of_something_else_is_found(other: dict[str, Any], expected: list[str]) -> None:
    assert codes(envelope(**other)) == expected
    assert codes(envelope(**other), recorded=params(envelope())) == ["ProvenanceReplaced", *expected]


@pytest.mark.parametrize(
    ("life", "expected"),
    [
        (NodeKeyView(key=KEYS[0], since=ENDED_AT + timedelta(hours=1)), ["KeyNotValid"]),
        (NodeKeyView(key=KEYS[0], state=REPLACED, until=ENDED_AT - timedelta(hours=1)), ["KeyNotValid"]),
        (NodeKeyView(key=KEYS[1]), ["KeyNotValid"]),
        (NodeKeyView(key=KEYS[0], state=REPLACED, until=ENDED_AT + timedelta(hours=1)), []),
        (NodeKeyView(key=KEYS[0]), []),
    ],
    ids=["before", "after", "none of the node's", "rotated since", "not known"],
)
def test_a_key_counts_for_what_was_made_while_it_was_the_node_s(life: NodeKeyView, expected: list[str]) -> None:
    assert codes(envelope(), keys=(life,)) == expected


def hours(number: int) -> datetime:
    """So long after the task ended."""
    return ENDED_AT + timedelta(hours=number)


GONE = NodeKeyView(key=KEYS[0], state=DELETED, since=hours(-2), until=hours(1))
BACK = NodeKeyView(key=KEYS[0], since=hours(2))
ANOTHER_NOW = NodeKeyView(key=KEYS[1], since=hours(2))


@pytest.mark.parametrize(
    ("keys", "forgotten", "expected"),
    [
        ((BACK, GONE), None, []),
        ((ANOTHER_NOW, GONE), None, []),
        ((BACK, replace(GONE, until=hours(-1))), None, ["KeyNotValid"]),
        ((BACK,), None, ["KeyNotValid"]),
        ((ANOTHER_NOW,), None, ["KeyNotKept"]),
        ((replace(ANOTHER_NOW, since=hours(-1)),), None, ["KeyNotValid"]),
        ((BACK,), hours(1), ["KeyNotKept"]),
        ((BACK,), hours(-1), ["KeyNotValid"]),
        ((replace(ANOTHER_NOW, since=hours(-1)),), hours(-2), ["KeyNotValid"]),
    ],
    ids=[
        "it is back",
        "another has the name",
        "between its two lives",
        "before all its lives",
        "nothing is known of then",
        "never the node's",
        "its life then is forgotten",
        "others' lives are forgotten",
        "never the node's, and others' are forgotten",
    ],
)
def test_each_life_of_a_key_counts_and_one_that_is_not_kept_is_told_as_that(
    keys: tuple[NodeKeyView, ...], forgotten: datetime | None, expected: list[str]
) -> None:
    assert codes(envelope(), keys=keys, forgotten=forgotten) == expected


def test_what_is_nested_without_end_is_no_envelope() -> None:
    assert codes(b'{"more":' + b"[" * 20_000) == ["ProvenanceMalformed"]
