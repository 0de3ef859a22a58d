"""Inputs that a task reads, as its node signs them: each by its digest while they are few, else all by one."""

import hashlib
from collections.abc import Sequence
from urllib.parse import quote

import msgspec

from compute.inputs.objects.given import GivenInputs
from shared.protocol.nodes.inputs import InputFile
from shared.protocol.results.provenance import INPUTS, Resource

MOST_NAMED = 32
MAX_NAME = 300
MAX_URI = 300

_encode = msgspec.json.Encoder().encode


def inputs_read(given: GivenInputs, first: Sequence[InputFile]) -> tuple[Resource, ...]:
    """What is told of them; `first` are the first files, which may be all.

    Where nobody knows a SHA-256 it is the ETag, to which S3 holds whoever reads. Of many it is a digest over what each
    is, and of very many over what the orchestrator says of their lists.
    """
    if given.total <= len(first) and given.total <= MOST_NAMED:
        return tuple(map(_resource, first))
    if given.total <= len(first):
        told: object = [(each.source, each.path, each.size, each.sha256 or each.etag, each.members) for each in first]
    else:
        told = given.lists
    return (
        Resource(
            name=INPUTS,
            digest={"sha256": hashlib.sha256(_encode(told)).hexdigest()},
            annotations={"files": str(given.total), "bytes": str(given.total_bytes)},
        ),
    )


def url_read(number: int, name: str, url: str, *, size_bytes: int, sha256: str) -> Resource:
    """What came from the URL of the `number`th input, which is to be told without anything secret."""
    return Resource(
        name=f"{INPUTS}/{number}/{name}"[:MAX_NAME],
        uri=url[:MAX_URI],
        digest={"sha256": sha256},
        annotations={"bytes": str(size_bytes)},
    )


def path_read(number: int, path: str) -> Resource:
    """What the node itself has at this path, of which nobody knows a digest: it may be large, and may change."""
    return Resource(name=f"{INPUTS}/{number}", uri=f"file://{quote(path)}"[:MAX_URI])


def own_read(read: Sequence[Resource]) -> tuple[Resource, ...]:
    """What is told of those that the node reads by itself."""
    if len(read) <= MOST_NAMED:
        return tuple(read)
    digest = hashlib.sha256(_encode(read)).hexdigest()
    return (Resource(name=INPUTS, digest={"sha256": digest}, annotations={"inputs": str(len(read))}),)


def _resource(file: InputFile) -> Resource:
    below = f"{INPUTS}/{file.source}/{file.path}"[:MAX_NAME].removesuffix("/")
    annotations = {"bytes": str(file.size)}
    if file.members:
        annotations["paths"] = str(len(file.members))
    if file.sha256:
        return Resource(name=below, digest={"sha256": file.sha256}, annotations=annotations)
    return Resource(name=below, annotations=annotations | {"etag": file.etag})
