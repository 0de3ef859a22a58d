"""Whatever is changed of a result in the bucket, `tarpon job verify` finds it, and says by a code what it is."""

import asyncio
import base64
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import nkeys
import pytest
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import Key  # type: ignore[attr-defined]  # as its documentation does

from shared.data.nkey import raw_public_key
from shared.protocol.objects import plain_folder
from tarpon import Client
from tarpon.verification import verify_results
from tests.e2e.stack import Stack, process_job, wait_until
from tests.e2e.tampering import (
    Changed,
    Document,
    Published,
    public_key,
    seed_of,
    signed_by,
    with_lines,
    with_statement,
)

PATHS = [{"Name": "outputs", "Path": "/outputs"}]
SCRIPT = "seq 200000 > outputs/numbers; head -c 1500000 /dev/urandom > outputs/noise; echo {word} > outputs/word"
STRANGER: str = nkeys.encode_seed(bytes(range(32)), nkeys.PREFIX_BYTE_USER).decode()


class Results(NamedTuple):
    """`one` of which something is changed, one of the same job, and one of another job and node."""

    one: Published
    again: Published
    other: Published


def job(word: str, node: str, **task: Any) -> Document:
    on = [{"Key": "name", "Operator": "=", "Values": [node]}]
    return process_job(SCRIPT.format(word=word), ResultPaths=PATHS, **task) | {"Name": word, "Constraints": on}


@pytest.fixture(scope="module")
def results(running: Stack) -> Results:
    first, other = running.submit(job("first", "node-a")), running.submit(job("other", "node-b"))
    running.wait_ended(first)
    running.api(f"/orchestrator/jobs/{first}/rerun", {}, "PUT")
    for each in (first, other):
        assert running.wait_ended(each)["Job"]["State"]["StateType"] == "Completed"
    one, again = running.api(f"/orchestrator/jobs/{first}/executions?all_job_versions=true")["Items"]
    (only,) = running.api(f"/orchestrator/jobs/{other}/executions")["Items"]
    found = Results(*(Published.of(running, each) for each in (one, again, only)))
    wait_until(lambda: {each.record for each in found} <= set(running.all_keys()), within=20, what="they have records")
    return found


Tampering = Callable[[Results], Changed]


def envelope(edit: Callable[[Results, Document], Document]) -> Tampering:
    """The provenance, with something else in it."""
    return lambda of: {of.one.provenance: json.dumps(edit(of, of.one.envelope)).encode()}


def record(edit: Callable[[Results, Document], Document]) -> Tampering:
    return lambda of: {of.one.record: json.dumps(edit(of, json.loads(of.one.read(of.one.record)))).encode()}


def moved(which: str, to: str) -> Tampering:
    return lambda of: {str(getattr(of.one, to)): of.one.read(str(getattr(of.one, which)))}


def manifest(edit: Callable[[list[Document]], object]) -> Tampering:
    return lambda of: {of.one.manifest: with_lines(of.one.read(of.one.manifest), edit)}


def cut(which: str) -> Tampering:
    def tamper(of: Results) -> Changed:
        key = str(getattr(of.one, which))
        return {key: of.one.read(key)[:-10]}

    return tamper


def gone(which: str) -> Tampering:
    return lambda of: {str(getattr(of.one, which)): None}


def from_another(which: str, whose: str = "other") -> Tampering:
    def tamper(of: Results) -> Changed:
        other: Published = getattr(of, whose)
        return {str(getattr(of.one, which)): other.read(str(getattr(other, which)))}

    return tamper


def swapped(which: str) -> Tampering:
    def tamper(of: Results) -> Changed:
        one, again = str(getattr(of.one, which)), str(getattr(of.again, which))
        return {one: of.one.read(again), again: of.one.read(one)}

    return tamper


def edited_and_signed(edit: Callable[[Document], None]) -> Callable[[Results, Document], Document]:
    """As a node could do it with its key."""

    def tamper(of: Results, found: Document) -> Document:
        return signed_by(seed_of(of.one.stack, of.one.node), with_statement(found, edit))

    return tamper


def flipped(of: Results) -> Changed:
    content = bytearray(of.one.read(of.one.archive))
    content[len(content) // 2] ^= 1
    return {of.one.archive: bytes(content)}


def with_another_digest(lines: list[Document]) -> None:
    next(each for each in lines if each["kind"] == "file")["sha256"] = "0" * 64


def by_another_node(of: Results, found: Document) -> Document:
    return signed_by(seed_of(of.one.stack, of.other.node), found)


def in_the_name_of_the_node(of: Results, found: Document) -> Document:
    return signed_by(STRANGER, found, keyid=public_key(seed_of(of.one.stack, of.one.node)))


def another_subject(statement: Document) -> None:
    statement["subject"][0]["digest"]["sha256"] = "0" * 64


def another_job(statement: Document) -> None:
    statement["predicate"]["buildDefinition"]["externalParameters"]["job"] = "j-other"


def another_time(statement: Document) -> None:
    statement["predicate"]["runDetails"]["metadata"]["finishedOn"] = "2020-01-01T00:00:00Z"


def signed_anew(of: Published) -> bytes:
    """The record, as an earlier orchestrator with another key would have signed it."""
    return json.dumps(signed_by(STRANGER, json.loads(of.read(of.record)))).encode()


def another_node(told: Document) -> None:
    told["node_id"] = "node-b"


def by_its_node(of: Results, found: Document) -> Document:
    return signed_by(seed_of(of.one.stack, of.one.node), found)


def edited(_: Results, found: Document) -> Document:
    return with_statement(found, another_subject)


def of_another_type(_: Results, found: Document) -> Document:
    return found | {"payloadType": "application/json"}


def with_two_signatures(of: Results, found: Document) -> Document:
    return found | {"signatures": [*found["signatures"], *signed_by(STRANGER, found)["signatures"]]}


def of_another_payload(of: Results, found: Document) -> Document:
    return found | {"signatures": of.other.envelope["signatures"]}


def in_url_alphabet(_: Results, found: Document) -> Document:
    sig = base64.b64decode(found["signatures"][0]["sig"])
    return found | {
        "signatures": [found["signatures"][0] | {"sig": base64.urlsafe_b64encode(sig).decode().rstrip("=")}]
    }


def without_encoding(of: Results, found: Document) -> Document:
    return signed_by(seed_of(of.one.stack, of.one.node), found, pae=False)


ENVELOPE_OF_THE_ORCHESTRATOR = {"ProvenanceReplaced", "ProvenanceMalformed"}
OF_OBJECTS: dict[str, tuple[Tampering, set[str]]] = {
    "a bit of the archive": (flipped, {"ResultReplaced"}),
    "the archive of another job": (from_another("archive"), {"ResultReplaced"}),
    "the archive of another execution": (from_another("archive", "again"), {"ResultReplaced"}),
    "a cut archive": (cut("archive"), {"ResultReplaced"}),
    "no archive": (gone("archive"), {"ObjectUnreadable"}),
    "the index of another job": (from_another("index"), {"IndexReplaced"}),
    "a cut index": (cut("index"), {"IndexReplaced"}),
    "no index": (gone("index"), {"ObjectUnreadable"}),
    "a digest in the manifest": (manifest(with_another_digest), {"ManifestReplaced"}),
    "the manifest of another job": (from_another("manifest"), {"ManifestReplaced"}),
    "swapped manifests": (swapped("manifest"), {"ManifestReplaced"}),
    "a cut manifest": (cut("manifest"), {"ManifestReplaced"}),
    "no manifest": (gone("manifest"), {"ObjectUnreadable"}),
    "no envelope": (gone("provenance"), {"ObjectUnreadable"}),
    "the record of another job": (from_another("record"), {"RecordWrong"}),
    "the record of another execution": (from_another("record", "again"), {"RecordWrong"}),
    "an edited record": (record(lambda _, found: with_statement(found, another_node)), {"RecordWrong"}),
    "a record signed by a node": (record(by_its_node), {"RecordWrong"}),
    "a record in the place of the envelope": (moved("record", "provenance"), ENVELOPE_OF_THE_ORCHESTRATOR),
    "an envelope in the place of the record": (moved("provenance", "record"), {"RecordWrong"}),
    "a cut record": (cut("record"), {"RecordWrong"}),
    "no record": (gone("record"), set()),
}
OF_ENVELOPES: dict[str, tuple[Tampering, set[str]]] = {
    "the envelope of another job": (from_another("provenance"), {"KeyOfAnother", "StatementOfAnother"}),
    "the envelope of another execution": (from_another("provenance", "again"), {"StatementOfAnother"}),
    "an edited statement": (
        envelope(edited),
        {"SignatureWrong", "StatementOfAnother"},
    ),
    "an edited statement, signed by its node": (envelope(edited_and_signed(another_subject)), {"StatementOfAnother"}),
    "another job, signed by its node": (envelope(edited_and_signed(another_job)), {"StatementOfAnother"}),
    "a time before the key, signed by its node": (envelope(edited_and_signed(another_time)), {"KeyNotValid"}),
    "the signature of another node": (envelope(by_another_node), {"KeyOfAnother"}),
    "the signature of a stranger in the name of the node": (envelope(in_the_name_of_the_node), {"SignatureWrong"}),
    "another payload type": (
        envelope(of_another_type),
        {"ProvenanceMalformed"},
    ),
    "a second signature": (envelope(with_two_signatures), {"KeyOfAnother"}),
    "no signature": (envelope(lambda _, found: found | {"signatures": []}), {"KeyOfAnother"}),
    "the signature of another payload": (envelope(of_another_payload), {"KeyOfAnother"}),
    "the signature of the text alone": (envelope(without_encoding), {"SignatureWrong"}),
    "a signature in the alphabet of URLs": (envelope(in_url_alphabet), {"ProvenanceMalformed"}),
    "a cut envelope": (cut("provenance"), {"ProvenanceMalformed"}),
}
"""What is found of each of these, beside its being another one than was recorded."""


def codes(one: Published) -> set[str]:
    async def verified() -> set[str]:
        async with Client(one.stack.api_url) as client:
            found = await verify_results(client, one.job, execution=one.execution)
        (result,) = found.results
        assert found.verified is not bool(result.problems)
        return {each.code for each in result.problems}

    return asyncio.run(verified())


def by_public_tool(published: Published) -> None:
    """Raises VerificationError and others, where it does not take the envelope."""
    key = public_key(seed_of(published.stack, published.node))
    told = {"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": raw_public_key(key).hex()}}
    Envelope.from_dict(published.envelope).verify([Key.from_dict(key, told)], 1)


def test_what_nobody_has_changed_is_verified_also_by_the_public_tool(results: Results) -> None:
    assert codes(results.one) == set()
    for each in results:
        by_public_tool(each)


@pytest.mark.parametrize(("tamper", "expected"), OF_OBJECTS.values(), ids=list(OF_OBJECTS))
def test_an_object_that_was_changed_is_found(results: Results, tamper: Tampering, expected: set[str]) -> None:
    with results.one.changed(tamper(results)):
        assert codes(results.one) == expected


@pytest.mark.parametrize(("tamper", "expected"), OF_ENVELOPES.values(), ids=list(OF_ENVELOPES))
def test_an_envelope_that_was_changed_is_found(results: Results, tamper: Tampering, expected: set[str]) -> None:
    with results.one.changed(tamper(results)):
        assert codes(results.one) == {"ProvenanceReplaced", *expected}


ALSO_BY_OTHERS = [name for name, (_, found) in OF_ENVELOPES.items() if "SignatureWrong" in found]


@pytest.mark.parametrize("name", ALSO_BY_OTHERS)
def test_the_public_tool_finds_wrong_signatures_too(results: Results, name: str) -> None:
    with results.one.changed(OF_ENVELOPES[name][0](results)), pytest.raises(VerificationError):
        by_public_tool(results.one)


def test_a_plain_result_is_held_to_the_digests_of_its_files(running: Stack) -> None:
    submitted = running.submit(job("plain", "node-a", Publisher={"Type": "s3managed", "Params": {"Encoding": "plain"}}))
    running.wait_ended(submitted)
    (execution,) = running.api(f"/orchestrator/jobs/{submitted}/executions")["Items"]
    one = Published.of(running, execution)
    file = f"{plain_folder(one.archive)}outputs/word"
    assert codes(one) == set()
    for changed, found in (
        (b"other\n", "ResultReplaced"),
        (b"longer than it was", "ResultReplaced"),
        (None, "ObjectUnreadable"),
    ):
        with one.changed({file: changed}):
            assert codes(one) == {found}


def test_the_command_tells_what_it_has_found_by_its_exit_code(results: Results) -> None:
    one = results.one
    verify = ("job", "verify", one.job, "--execution", one.execution)
    told = one.stack.cli(*verify).stdout
    assert f"is what node {one.node} signed" in told
    assert re.search(r"record of it, signed with U\w+, says the same", told)
    with one.changed({one.record: signed_anew(one)}):
        done = one.stack.cli(*verify, check=False)
        assert f"is signed by {public_key(STRANGER)}, and not by the orchestrator" in done.stdout
        assert "name it with --records-key" in done.stdout
        done = one.stack.cli(*verify, "--records-key", public_key(STRANGER))
        assert f"signed with {public_key(STRANGER)}, says the same" in done.stdout
    with one.changed(flipped(results)):
        done = one.stack.cli(*verify, "--output", "json", check=False)
    (found,) = json.loads(done.stdout)["Results"]
    assert (done.returncode, [each["Code"] for each in found["Problems"]]) == (8, ["ResultReplaced"])


def signed_later(of: Results, seed: str) -> Changed:
    """As whoever has the key can do it after the node was deleted."""
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()

    def edit(statement: Document) -> None:
        statement["predicate"]["runDetails"]["metadata"]["finishedOn"] = later

    return {of.one.provenance: json.dumps(signed_by(seed, with_statement(of.one.envelope, edit))).encode()}


def test_what_a_node_signed_stays_verified_when_it_is_deleted_and_joins_again_and_nothing_more(
    running: Stack, results: Results
) -> None:
    one, node = results.one, results.one.node
    seed, states = seed_of(running, node), ["Deleted"]
    for key_file in (None, next((running.root / node).rglob("node.nkey"))):
        running.computes[node].stop()
        running.cli("node", "delete", node)
        assert codes(one) == set()
        if key_file is not None:
            key_file.unlink()
        running.computes[node].start()
        running.wait_connected(node)
        assert codes(one) == set()
        found = json.loads(running.cli("node", "keys", node, "--output", "json").stdout)[node]
        assert [each["State"] for each in found] == ["Current", *states]
        states.append("Deleted")
    with one.changed(signed_later(results, seed)):
        assert codes(one) == {"ProvenanceReplaced", "KeyNotValid"}
