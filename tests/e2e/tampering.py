"""Objects of results, changed as somebody with rights in the bucket, or a node, can change them (no tests in here)."""

import base64
import gzip
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nkeys

from shared.protocol.objects import content_manifest_key, index_key, provenance_key, record_key
from shared.protocol.results.dsse import pre_authentication_encoding
from tests.e2e.stack import Stack

Document = dict[str, Any]
Changed = Mapping[str, bytes | None]
"""By the keys of objects what is there instead; None is nothing."""


@dataclass(frozen=True)
class Published:
    """One result: its keys in the bucket, and the seed of the node that made it."""

    stack: Stack
    job: str
    execution: str
    node: str
    archive: str

    @classmethod
    def of(cls, stack: Stack, execution: Document) -> "Published":
        told = execution["PublishedResult"]["Params"]
        return cls(stack, execution["JobID"], execution["ID"], execution["NodeID"], told["Key"])

    @property
    def index(self) -> str:
        return index_key(self.archive)

    @property
    def manifest(self) -> str:
        return content_manifest_key(self.archive)

    @property
    def provenance(self) -> str:
        return provenance_key(self.archive)

    @property
    def record(self) -> str:
        return record_key(self.archive)

    def read(self, key: str) -> bytes:
        return bytes(self.stack.s3.client().get_object(Bucket=self.stack.bucket, Key=key)["Body"].read())

    @property
    def envelope(self) -> Document:
        found: Document = json.loads(self.read(self.provenance))
        return found

    @contextmanager
    def changed(self, changed: Changed) -> Iterator[None]:
        """While these objects are there instead."""
        before = {key: self.read(key) for key in changed}
        try:
            self._put(changed)
            yield
        finally:
            self._put(before)

    def _put(self, contents: Changed) -> None:
        client = self.stack.s3.client()
        for key, content in contents.items():
            if content is None:
                client.delete_object(Bucket=self.stack.bucket, Key=key)
            else:
                client.put_object(Bucket=self.stack.bucket, Key=key, Body=content)


def seed_of(stack: Stack, node: str) -> str:
    (file,) = (stack.root / node).rglob("node.nkey")
    return Path(file).read_text().strip()


def public_key(seed: str) -> str:
    key: bytes = nkeys.from_seed(bytearray(seed, "ascii")).public_key
    return key.decode()


def statement_of(envelope: Document) -> Document:
    found: Document = json.loads(base64.b64decode(envelope["payload"]))
    return found


def with_statement(envelope: Document, edit: Callable[[Document], object]) -> Document:
    """The envelope around the edited statement, with the signatures that were there."""
    statement = statement_of(envelope)
    edit(statement)
    return envelope | {"payload": base64.b64encode(json.dumps(statement).encode()).decode()}


def signed_by(seed: str, envelope: Document, *, keyid: str = "", pae: bool = True) -> Document:
    """Signed by this key, and by no other. With `pae` false the payload alone is, which is a common mistake."""
    payload = base64.b64decode(envelope["payload"])
    text = pre_authentication_encoding(envelope["payloadType"], payload) if pae else payload
    pair = nkeys.from_seed(bytearray(seed, "ascii"))
    signature = {"keyid": keyid or public_key(seed), "sig": base64.b64encode(pair.sign(text)).decode()}
    return envelope | {"signatures": [signature]}


def with_lines(manifest: bytes, edit: Callable[[list[Document]], object]) -> bytes:
    """A manifest or an index, edited line by line."""
    lines = [json.loads(line) for line in gzip.decompress(manifest).splitlines()]
    edit(lines)
    return gzip.compress("".join(json.dumps(line) + "\n" for line in lines).encode())
