"""Provenance: what a node signs of how it made a result, in its own name.

shared/protocol/results/provenance.py tells the format. The specification of the whole job, which a node does not know,
it signs by the digest that came with the assignment.
"""

from collections.abc import Mapping
from datetime import UTC, datetime

import nkeys

from compute.journal.entry import Entry
from shared.ids import NodeId
from shared.jobs.spec import Task
from shared.protocol.messages import Assignment, ExecutionStarted, TaskEnded
from shared.protocol.published_facts import PublishedFacts
from shared.protocol.results.dsse import Envelope, Signature, encode_envelope, pre_authentication_encoding
from shared.protocol.results.provenance import (
    BUILD_TYPE,
    BUILDER,
    CONTENT_DIGEST,
    IMAGE,
    MAX_ENVELOPE_BYTES,
    PAYLOAD_TYPE,
    SPECIFICATION,
    BuildDefinition,
    Builder,
    BuildMetadata,
    Predicate,
    Resource,
    RunDetails,
    Statement,
    encode_statement,
)

_PINNED = "@sha256:"


class NodeSigner:
    """Signs with the key of this node. `isolation` tells what keeps the tasks of each engine apart, by its name."""

    def __init__(self, node: NodeId, nkey_seed: str, version: str, isolation: Mapping[str, str]) -> None:
        self._pair = nkeys.from_seed(bytearray(nkey_seed, "ascii"))
        self._key = self._pair.public_key.decode()
        self._builder = Builder(id=f"{BUILDER}{node}", version={"tarpon": version})
        self._isolation = isolation

    def __repr__(self) -> str:
        return f"<NodeSigner {self._key}>"

    def envelope(self, entry: Entry, facts: PublishedFacts, manifest_sha256: str) -> bytes:
        """Of the result of this execution, whose task has ended; empty where it is not wanted, or far too long."""
        if not entry.assignment.spec_digest:
            return b""
        payload = encode_statement(self._statement(entry, facts, manifest_sha256))
        signature = self._pair.sign(pre_authentication_encoding(PAYLOAD_TYPE, payload))
        envelope = encode_envelope(
            Envelope(payload_type=PAYLOAD_TYPE, payload=payload, signatures=(Signature(self._key, signature),))
        )
        return envelope if len(envelope) <= MAX_ENVELOPE_BYTES else b""

    def _statement(self, entry: Entry, facts: PublishedFacts, manifest_sha256: str) -> Statement:
        assignment = entry.assignment
        engine = assignment.task.engine.type.lower()
        definition = BuildDefinition(
            build_type=BUILD_TYPE,
            external_parameters=_parameters(assignment),
            internal_parameters={
                "engine": engine,
                "isolation": self._isolation.get(engine, ""),
                "exitCode": str(entry.ended[0]),
            },
            resolved_dependencies=tuple(_dependencies(entry)),
        )
        metadata = BuildMetadata(
            invocation_id=assignment.execution_id,
            started_on=_instant(entry, ExecutionStarted),
            finished_on=_instant(entry, TaskEnded),
        )
        return Statement(
            subject=tuple(_subjects(assignment, facts, manifest_sha256)),
            predicate=Predicate(
                build_definition=definition, run_details=RunDetails(builder=self._builder, metadata=metadata)
            ),
        )


def _parameters(assignment: Assignment) -> dict[str, str]:
    return {
        "namespace": assignment.namespace,
        "job": assignment.job_id,
        "jobVersion": str(assignment.job_version),
        "partition": str(assignment.partition_index),
        "partitionCount": str(assignment.partition_count),
    }


def _dependencies(entry: Entry) -> list[Resource]:
    """An image by the id that its engine has for it, and where nobody knows that by what its name says."""
    found = [Resource(name=SPECIFICATION, digest={"sha256": entry.assignment.spec_digest})]
    called, known = entry.image
    if image := called or _image(entry.assignment.task):
        digest = known or image.partition(_PINNED)[2]
        found.append(Resource(name=IMAGE, uri=f"docker://{image}", digest={"sha256": digest} if digest else {}))
    return [*found, *entry.inputs]


def _image(task: Task) -> str:
    image = task.engine.params.get("Image", "")
    return image if isinstance(image, str) else ""


def _subjects(assignment: Assignment, facts: PublishedFacts, manifest_sha256: str) -> list[Resource]:
    execution = assignment.execution_id
    name = f"{execution}.manifest.json.gz" if assignment.is_plain else f"{execution}.tar.gz"
    found = [Resource(name=name, digest={"sha256": facts.sha256}, annotations={CONTENT_DIGEST: facts.content_digest})]
    if manifest_sha256:
        found.append(Resource(name=f"{execution}.content.json.gz", digest={"sha256": manifest_sha256}))
    return found


def _instant(entry: Entry, kind: type[ExecutionStarted | TaskEnded]) -> str:
    """When that happened by the node's clock."""
    at = next((each.at for each in entry.happenings if isinstance(each.fact, kind)), None)
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z") if at else ""
