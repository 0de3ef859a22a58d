"""Answers of S3 about the rules of a bucket: its life cycle, and whether it keeps earlier versions.

Needs s3:GetLifecycleConfiguration and s3:GetBucketVersioning, which the least policy does not grant (Amazon S3 API
reference, "GetBucketLifecycleConfiguration" and "GetBucketVersioning").
"""

import xml.etree.ElementTree as ET
from enum import StrEnum

import msgspec

from orchestrator.s3.requests import Answer, Send, Sign

_NONE_SET = "NoSuchLifecycleConfiguration"


class Unknown(StrEnum):
    """Why a rule is not known."""

    FORBIDDEN = "forbidden"
    NOT_OFFERED = "not-offered"
    """The service has no rules of the kind, or gives no answer that is about them."""


class LifecycleRule(msgspec.Struct, frozen=True, kw_only=True):
    """One that is enabled. `is_narrowed` where it is about some of the objects below `prefix` alone."""

    name: str
    prefix: str
    is_narrowed: bool = False
    aborts_uploads: bool = False
    expires_objects: bool = False
    expires_earlier_versions: bool = False


class BucketRules(msgspec.Struct, frozen=True, kw_only=True):
    lifecycle: tuple[LifecycleRule, ...] | Unknown
    versioning: str | Unknown
    """`Enabled`, `Suspended`, or empty where the bucket has never had versions."""
    ends_uploads: bool = False
    """The service does so by itself, and takes no rule about it: MinIO, after a day (its `stale_uploads_expiry`)."""


async def bucket_rules(send: Send, sign: Sign) -> BucketRules:
    """Two requests, which change nothing. Raises as `send` and `sign` do."""
    lifecycle = await send(await sign("GET", "", query={"lifecycle": ""}))
    versioning = await send(await sign("GET", "", query={"versioning": ""}))
    return BucketRules(
        lifecycle=lifecycle_of(lifecycle),
        versioning=versioning_of(versioning),
        ends_uploads=lifecycle.headers.get("server", "").startswith("MinIO"),
    )


def lifecycle_of(answer: Answer) -> tuple[LifecycleRule, ...] | Unknown:
    if answer.failure is not None and answer.failure.code == _NONE_SET:
        return ()
    found = _document(answer, "LifecycleConfiguration")
    if isinstance(found, Unknown):
        return found
    rules = [_rule(each) for each in found if _local(each) == "Rule" and _text(each, "Status") == "Enabled"]
    return tuple(rules)


def versioning_of(answer: Answer) -> str | Unknown:
    found = _document(answer, "VersioningConfiguration")
    return found if isinstance(found, Unknown) else _text(found, "Status")


def _rule(element: ET.Element) -> LifecycleRule:
    names = {_local(each) for each in element.iter()}
    expirations = [each for each in element if _local(each) == "Expiration"]
    return LifecycleRule(
        name=_text(element, "ID"),
        prefix=_text(element, "Prefix"),
        is_narrowed=bool(names & {"Tag", "ObjectSizeGreaterThan", "ObjectSizeLessThan"}),
        aborts_uploads="AbortIncompleteMultipartUpload" in names,
        expires_objects=any(_local(each) in {"Days", "Date"} for found in expirations for each in found),
        expires_earlier_versions="NoncurrentVersionExpiration" in names,
    )


class _NoDoctype(ET.TreeBuilder):
    def doctype(self, name: str, public_id: str | None, system: str | None) -> None:  # noqa: ARG002  # expat's call
        raise ET.ParseError("rules have no DTD")


def _document(answer: Answer, root: str) -> ET.Element | Unknown:
    """Some services take a question that they do not know for one about the objects, and answer with a list of them."""
    if answer.failure is not None:
        return Unknown.FORBIDDEN if answer.status in {401, 403} else Unknown.NOT_OFFERED
    parser = ET.XMLParser(target=_NoDoctype())  # noqa: S314  # bounded in size, and a DTD is refused
    try:
        parser.feed(answer.body)
        found: ET.Element = parser.close()
    except (ET.ParseError, ValueError, LookupError):
        return Unknown.NOT_OFFERED
    return found if _local(found) == root else Unknown.NOT_OFFERED


def _text(element: ET.Element, name: str) -> str:
    """That of the first one of this name, however deep; empty where there is none."""
    return next(((each.text or "").strip() for each in element.iter() if _local(each) == name), "")


def _local(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]
