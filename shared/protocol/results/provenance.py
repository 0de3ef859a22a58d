"""The provenance of a result: what its node has signed of how it was made.

It is an in-toto Statement v1 (github.com/in-toto/attestation) with SLSA's provenance v1 (slsa.dev/spec/v1.0/provenance)
as its predicate, in a DSSE envelope with one signature: that of the node's nkey. The `buildType` is the version of what
is told of an execution. Numbers are strings, digests in hexadecimal. docs/provenance.md shows one.
"""

import hashlib

import msgspec
from msgspec import field

from shared.jobs.spec import Job

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "urn:tarpon:execution:v1"
BUILDER = "urn:tarpon:node:"
SPECIFICATION, IMAGE, INPUTS = "specification", "image", "inputs"
CONTENT_DIGEST = "contentDigest"
MAX_ENVELOPE_BYTES = 64 << 10

Texts = dict[str, str]


class Resource(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A ResourceDescriptor of in-toto."""

    name: str = ""
    uri: str = ""
    digest: Texts = {}
    annotations: Texts = {}


class BuildDefinition(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    build_type: str
    external_parameters: Texts
    internal_parameters: Texts = {}
    resolved_dependencies: tuple[Resource, ...] = ()


class Builder(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    version: Texts = {}


class BuildMetadata(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Times are RFC 3339 in UTC."""

    invocation_id: str
    started_on: str = ""
    finished_on: str = ""


class RunDetails(msgspec.Struct, frozen=True, kw_only=True):
    builder: Builder
    metadata: BuildMetadata


class Predicate(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    build_definition: BuildDefinition
    run_details: RunDetails


class Statement(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The first subject is the archive, or the manifest of a plain result; the second one the manifest beside it."""

    type: str = field(name="_type", default=STATEMENT_TYPE)
    subject: tuple[Resource, ...]
    predicate_type: str = PREDICATE_TYPE
    predicate: Predicate


class Claims(msgspec.Struct, frozen=True, kw_only=True):
    """What a result is known to be, by those who do not take the word of its node. Digests are SHA-256 in hex."""

    node: str
    job: str
    version: int
    partition: int
    execution: str
    specification: str
    result: str
    manifest: str = ""
    """Empty where there is none beside it."""
    content: str = ""


decode_statement = msgspec.json.Decoder(Statement).decode
"""Raises msgspec.DecodeError, UnicodeDecodeError, RecursionError."""
encode_statement = msgspec.json.Encoder().encode


def specification_digest(job: Job) -> str:
    """Of the specification as the API shows it, as JSON with sorted keys and without spaces."""
    return hashlib.sha256(msgspec.json.encode(msgspec.to_builtins(job), order="sorted")).hexdigest()


def what_differs(statement: Statement, claims: Claims) -> str:
    """What the statement says of another result than this one, in words; empty where all of it is of this."""
    definition, details = statement.predicate.build_definition, statement.predicate.run_details
    external, dependencies = definition.external_parameters, definition.resolved_dependencies
    specification = next((each.digest.get("sha256") for each in dependencies if each.name == SPECIFICATION), None)
    archive = statement.subject[0] if statement.subject else Resource()
    manifest = statement.subject[1] if len(statement.subject) > 1 else Resource()
    told = {
        "its types": (statement.type, statement.predicate_type, definition.build_type),
        "its node": details.builder.id,
        "its job": external.get("job"),
        "its version of the job": external.get("jobVersion"),
        "its part of the job": external.get("partition"),
        "its execution": details.metadata.invocation_id,
        "its specification": specification,
        "its archive": archive.digest.get("sha256"),
        "its manifest": manifest.digest.get("sha256", "") if claims.manifest else "",
        "its content": archive.annotations.get(CONTENT_DIGEST, "") if claims.content else "",
    }
    known = {
        "its types": (STATEMENT_TYPE, PREDICATE_TYPE, BUILD_TYPE),
        "its node": f"{BUILDER}{claims.node}",
        "its job": claims.job,
        "its version of the job": str(claims.version),
        "its part of the job": str(claims.partition),
        "its execution": claims.execution,
        "its specification": claims.specification,
        "its archive": claims.result,
        "its manifest": claims.manifest,
        "its content": claims.content,
    }
    return next((what for what, value in known.items() if told[what] != value), "")
