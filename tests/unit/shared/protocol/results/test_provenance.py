"""What a node signs of a result counts as long as it is that node's, of that result, and nothing of it was changed."""

import base64
import json
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import nkeys
import pytest
from msgspec.structs import replace
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import Key  # type: ignore[attr-defined]  # as its documentation does

from compute.inputs.objects.given import GivenInputs
from compute.inputs.read_inputs import MAX_NAME, MAX_URI, MOST_NAMED, inputs_read, own_read, path_read, url_read
from compute.journal.entry import Happening, Phase, new_entry
from compute.upload.delivery import Trouble
from compute.upload.provenance import NodeSigner
from orchestrator.dispatch.provenance import recorded
from orchestrator.jobs.results import _specification
from orchestrator.rules.records import BindingRecord, SpecRecord, VerifiedResult
from orchestrator.state.model import Model
from shared.data.nkey import raw_public_key
from shared.ids import ExecutionId, JobId, NodeId
from shared.jobs.spec import SpecConfig
from shared.protocol import subjects
from shared.protocol.messages import ExecutionStarted, NodeRequestAnswer, RunOutput, TaskEnded
from shared.protocol.nodes.inputs import MAX_FILES_AT_ONCE, InputFile, InputList, InputsRequest
from shared.protocol.results.dsse import pre_authentication_encoding
from shared.protocol.results.provenance import PAYLOAD_TYPE, Resource, specification_digest
from shared.protocol.signed_url import SignedUrl
from tests.builders import JOB, NODE, new_assignment, new_execution, new_job, new_job_record, new_task

Tampering = Callable[[dict[str, Any]], None]

IMAGE = f"docker.io/library/busybox@sha256:{'b' * 64}"
TASK = new_task(engine="docker", publisher="s3managed")
SPEC = new_job(tasks=(replace(TASK, engine=SpecConfig(type="docker", params={"Image": IMAGE})),))
RECORD = new_execution(of=JOB, on=NODE)
RESULT = VerifiedResult(
    etag="e", size_bytes=1, sha256="a" * 64, content_digest="c" * 64, manifest_bytes=5, manifest_sha256="d" * 64
)
SEED = nkeys.encode_seed(bytes(range(32)), nkeys.PREFIX_BYTE_USER).decode()
OTHER_SEED = nkeys.encode_seed(bytes(range(1, 33)), nkeys.PREFIX_BYTE_USER).decode()


def key_of(seed: str) -> str:
    public: bytes = nkeys.from_seed(bytearray(seed, "ascii")).public_key
    return public.decode()


def model(*, key: str = key_of(SEED), rejected: int = 0) -> Model:
    made = Model(max_attempts=1)
    made.apply(subjects.job_record(JobId(JOB)), new_job_record(JOB, first=SPEC), 1)
    made.apply(subjects.spec_record(JobId(JOB), 1), SpecRecord(job=SPEC), 2)
    made.apply(subjects.binding_record(NodeId(NODE)), BindingRecord(public_key=key, rejected=rejected), 3)
    return made


def envelope(
    *, seed: str = SEED, node: str = NODE, known: Mapping[str, Any] = MappingProxyType({}), **assigned: Any
) -> str:
    assignment = new_assignment(
        RECORD.id, task=SPEC.tasks[0], **({"spec_digest": specification_digest(SPEC)} | assigned)
    )
    happened = (
        Happening(fact=ExecutionStarted(), at=1_764_547_200.25),
        Happening(fact=TaskEnded(output=RunOutput(exit_code=3), run_seconds=1), at=1_764_547_201.5),
    )
    entry = replace(new_entry(assignment), phase=Phase.ENDED, happenings=happened, **known)
    signer = NodeSigner(NodeId(node), seed, "0.1.0", {"docker": "runc"})
    return signer.envelope(entry, RESULT, "d" * 64).decode()


def test_what_a_node_signed_is_recorded_with_its_key() -> None:
    text = envelope()
    found = recorded(model(), RECORD, RESULT, text)
    assert found is not None
    assert (found.key, found.size_bytes) == (key_of(SEED), len(text))


def test_the_statement_is_one_of_in_toto_with_the_predicate_of_slsa() -> None:
    statement = json.loads(base64.b64decode(json.loads(envelope())["payload"]))
    assert statement == {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [
            {
                "name": f"{RECORD.id}.tar.gz",
                "digest": {"sha256": "a" * 64},
                "annotations": {"contentDigest": "c" * 64},
            },
            {"name": f"{RECORD.id}.content.json.gz", "digest": {"sha256": "d" * 64}},
        ],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": "urn:tarpon:execution:v1",
                "externalParameters": {
                    "namespace": "default",
                    "job": JOB,
                    "jobVersion": "1",
                    "partition": "0",
                    "partitionCount": "1",
                },
                "internalParameters": {"engine": "docker", "isolation": "runc", "exitCode": "3"},
                "resolvedDependencies": [
                    {"name": "specification", "digest": {"sha256": specification_digest(SPEC)}},
                    {"name": "image", "uri": f"docker://{IMAGE}", "digest": {"sha256": "b" * 64}},
                ],
            },
            "runDetails": {
                "builder": {"id": f"urn:tarpon:node:{NODE}", "version": {"tarpon": "0.1.0"}},
                "metadata": {
                    "invocationId": RECORD.id,
                    "startedOn": "2025-12-01T00:00:00.250Z",
                    "finishedOn": "2025-12-01T00:00:01.500Z",
                },
            },
        },
    }


def dependencies(text: str) -> list[dict[str, Any]]:
    statement = json.loads(base64.b64decode(json.loads(text)["payload"]))
    found: list[dict[str, Any]] = statement["predicate"]["buildDefinition"]["resolvedDependencies"]
    return found[1:]


def test_it_tells_which_image_really_ran_and_what_was_read() -> None:
    read = Resource(name="inputs/0/a.csv", digest={"sha256": "9" * 64}, annotations={"bytes": "5"})
    assert dependencies(envelope(known={"image": ("busybox", "8" * 64), "inputs": (read,)})) == [
        {"name": "image", "uri": "docker://busybox", "digest": {"sha256": "8" * 64}},
        {"name": "inputs/0/a.csv", "digest": {"sha256": "9" * 64}, "annotations": {"bytes": "5"}},
    ]


@pytest.mark.parametrize("count", [2, MOST_NAMED + 1, MAX_FILES_AT_ONCE + 1])
def test_few_inputs_are_named_and_many_have_one_digest(count: int) -> None:
    def files(sha256: str) -> list[InputFile]:
        url = SignedUrl(method="GET", url="https://s3.example.com/b/k", lifetime_seconds=60)
        first = [InputFile(source=0, path=f"{each}", size=1, sha256=sha256, url=url) for each in range(count)]
        return [*first, InputFile(source=1, size=2, etag='"e"', url=url)]

    async def ask(_: InputsRequest) -> NodeRequestAnswer:
        raise AssertionError("nothing is asked")

    def read(sha256: str) -> tuple[Resource, ...]:
        given = GivenInputs(ExecutionId("e-1"), ask, Trouble(lambda _: None), of={0, 1})
        given.total, given.total_bytes = count + 1, count + 2
        given.lists = (InputList(source=0, count=count, size=count, content=sha256),)
        return inputs_read(given, files(sha256)[:MAX_FILES_AT_ONCE])

    few, other = read("1" * 64), read("2" * 64)
    assert few != other
    if count < MOST_NAMED:
        assert [each.name for each in few] == ["inputs/0/0", "inputs/0/1", "inputs/1"]
        assert few[-1].annotations == {"bytes": "2", "etag": '"e"'}
    else:
        assert [(each.name, each.annotations["files"]) for each in few] == [("inputs", str(count + 1))]


@pytest.mark.parametrize("count", [2, MOST_NAMED, 64])
def test_inputs_that_a_node_reads_by_itself_are_named_and_take_no_more_room_than_there_is(count: int) -> None:
    """64 are as many as a task may have."""
    url, name = "https://example.com/" + "x" * MAX_URI, "y" * MAX_NAME
    urls = [url_read(each, name, url, size_bytes=1 << 40, sha256="1" * 64) for each in range(count - 1)]
    read = own_read([*urls, path_read(count - 1, "/data/a b")])
    managed = tuple(Resource(name="z" * MAX_NAME, digest={"sha256": "2" * 64}) for _ in range(MOST_NAMED))
    *_, last = dependencies(envelope(known={"inputs": (*managed, *read)}))
    if count <= MOST_NAMED:
        assert last == {"name": f"inputs/{count - 1}", "uri": "file:///data/a%20b"}
    else:
        assert (last["name"], last["annotations"]) == ("inputs", {"inputs": "64"})
        assert read != own_read([*urls, path_read(count - 1, "/data/b")])


def by_public_tool(text: str, key: str) -> None:
    """Raises VerificationError."""
    told = {"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": raw_public_key(key).hex()}}
    public = Key.from_dict(key, told)
    Envelope.from_dict(json.loads(text)).verify([public], 1)


def test_the_public_tool_agrees() -> None:
    by_public_tool(envelope(), key_of(SEED))
    with pytest.raises(VerificationError):
        by_public_tool(envelope(), key_of(OTHER_SEED))


def edited(path: tuple[str | int, ...], value: str) -> Tampering:
    """With the signature that was there."""

    def edit(found: dict[str, Any]) -> None:
        statement = json.loads(base64.b64decode(found["payload"]))
        place = statement
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value
        found["payload"] = base64.b64encode(json.dumps(statement).encode()).decode()

    return edit


def signature_of_text(found: dict[str, Any]) -> str:
    """Without the pre-authentication encoding."""
    signature: bytes = nkeys.from_seed(bytearray(SEED, "ascii")).sign(base64.b64decode(found["payload"]))
    return base64.b64encode(signature).decode()


TAMPERINGS: dict[str, Tampering] = {
    "another archive": edited(("subject", 0, "digest", "sha256"), "e" * 64),
    "another manifest": edited(("subject", 1, "digest", "sha256"), "e" * 64),
    "another time": edited(("predicate", "runDetails", "metadata", "finishedOn"), "2025-12-02T00:00:00Z"),
    "another type": lambda found: found.update(payloadType="application/json"),
    "no signature": lambda found: found.update(signatures=[]),
    "another key's name": lambda found: found["signatures"][0].update(keyid=key_of(OTHER_SEED)),
    "another signature": lambda found: found["signatures"][0].update(sig=base64.b64encode(bytes(64)).decode()),
    "a second signature": lambda found: found["signatures"].append(found["signatures"][0]),
    "the signature of the text alone": lambda found: found["signatures"][0].update(sig=signature_of_text(found)),
    "the signature of another envelope": lambda found: found.update(
        signatures=json.loads(envelope(job_version=2))["signatures"]
    ),
    "a signature without padding": lambda found: found["signatures"][0].update(
        sig=found["signatures"][0]["sig"].rstrip("=")
    ),
    "a text in the alphabet of URLs": lambda found: found.update(payload=found["payload"][:-4] + "-_-_"),
    "no envelope": lambda found: found.pop("payload"),
}


@pytest.mark.parametrize("tamper", TAMPERINGS.values(), ids=list(TAMPERINGS))
def test_an_envelope_that_was_changed_does_not_count(tamper: Tampering) -> None:
    found = json.loads(envelope())
    tamper(found)
    assert recorded(model(), RECORD, RESULT, json.dumps(found)) is None


@pytest.mark.parametrize(
    "told",
    [
        {"job_id": JobId("j-2")},
        {"job_version": 2},
        {"partition_index": 1},
        {"execution_id": "e-other"},
        {"spec_digest": "f" * 64},
        {"node": "n-other"},
    ],
    ids=lambda told: next(iter(told)),
)
def test_what_is_of_something_else_does_not_count_though_it_is_well_signed(told: dict[str, Any]) -> None:
    if "execution_id" in told:
        text, record = envelope(), replace(RECORD, id=told["execution_id"])
    else:
        text, record = envelope(**told), RECORD
    assert recorded(model(), record, RESULT, text) is None


@pytest.mark.parametrize("name", ["sha256", "manifest_sha256", "content_digest"])
def test_what_is_of_another_result_does_not_count(name: str) -> None:
    assert recorded(model(), RECORD, replace(RESULT, **{name: "e" * 64}), envelope()) is None


def test_a_key_that_is_not_the_node_s_or_was_revoked_does_not_count() -> None:
    assert recorded(model(), RECORD, RESULT, envelope(seed=OTHER_SEED)) is None
    assert recorded(model(rejected=5), RECORD, RESULT, envelope()) is None


def test_an_envelope_that_is_nested_without_end_does_not_count_and_stops_no_report() -> None:
    deep = "[" * 20_000
    assert recorded(model(), RECORD, RESULT, f'{{"more":{deep}') is None
    payload = base64.b64encode(f'{{"more":{deep}'.encode())
    found = json.loads(envelope()) | {"payload": payload.decode()}
    signed = pre_authentication_encoding(PAYLOAD_TYPE, base64.b64decode(payload))
    signature = nkeys.from_seed(bytearray(SEED, "ascii")).sign(signed)
    found["signatures"][0]["sig"] = base64.b64encode(signature).decode()
    assert recorded(model(), RECORD, RESULT, json.dumps(found)) is None


def test_what_is_reported_of_a_job_that_was_removed_meanwhile_does_not_count() -> None:
    known = Model(max_attempts=1)
    known.apply(subjects.binding_record(NodeId(NODE)), BindingRecord(public_key=key_of(SEED)), 1)
    assert recorded(known, RECORD, RESULT, envelope()) is None


def test_it_is_remembered_of_which_specification_it_is() -> None:
    """That of a job which was rebuilt from its results is lost."""
    found = recorded(model(), RECORD, RESULT, envelope())
    assert found is not None
    assert _specification(found, new_job("lost", namespace="default")) == specification_digest(SPEC)


def test_nothing_is_signed_where_nobody_asks_for_it() -> None:
    assert envelope(spec_digest="") == ""
    assert recorded(model(), RECORD, RESULT, "") is None
