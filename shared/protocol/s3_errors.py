"""Error answers of S3: what they mean, and what an upload does about each.

Sources: the "Error responses" page of the Amazon S3 API reference, and the observed answers of S3-compatible services.
"""

import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from enum import Enum

import msgspec

from shared.protocol.url_life import was_dead

MAX_ERROR_BYTES = 64 * 1024
MAX_TEXT = 300
_QUERY = re.compile(r"\?\S*")
_RIGHT_REGION = re.compile(r"the region ['\"][^'\"]*['\"] is wrong; expecting ['\"]([^'\"]+)['\"]")
_SOMEBODY = re.compile(r"arn:aws[\w-]*:(?!s3:)[\w-]*:\S*")
"""A user, role or key at AWS, with the number of its account."""
_WRONG_TIME = re.compile(r"has expired|not valid yet|not yet valid")


class UploadAction(Enum):
    """What the sender of a PUT does after a failure."""

    RENEW_URL = "renew-url"
    """Ask for a new URL and send the same bytes."""
    ASK = "ask"
    """Perhaps refused for the keys that signed: ask for a new URL, before which the orchestrator reads its keys again
    and makes a request of its own. Where it goes well with these and is refused here all the same, a few times, the
    refusal is final."""
    RETRY = "retry"
    """Send the same bytes to the same URL after a pause with jitter."""
    RETRY_SLOWER = "retry-slower"
    """As RETRY, with a longer pause and fewer requests in flight."""
    RESEND = "resend"
    """The bytes arrived damaged: make them again, a few times, then fail as corruption."""
    SETTLE = "settle"
    """Something is there already, or gone: the orchestrator compares and decides."""
    FAIL = "fail"
    """Repeating cannot help."""


class S3Failure(msgspec.Struct, frozen=True, kw_only=True):
    """An answer that is not success. `code` is "" where the answer is not an S3 error document.

    `expired` is also a URL whose time is yet to come: a clock was wrong when it was signed.
    """

    status: int
    code: str
    message: str = ""
    request_id: str = ""
    region: str = ""
    expired: bool = False

    @property
    def names_somebody(self) -> bool:
        """Whether the message is for the operator alone."""
        return _SOMEBODY.search(self.message) is not None

    def __str__(self) -> str:
        """For anybody: who asked S3, and what keys the bucket has, is left out."""
        parts = [f"{self.status} {self.code}".rstrip(), _SOMEBODY.sub("[not shown]", self.message)]
        if self.request_id:
            parts.append(f"(request {self.request_id})")
        return " ".join(part for part in parts if part)


BY_CODE = {
    "ExpiredToken": UploadAction.RENEW_URL,
    "InvalidToken": UploadAction.RENEW_URL,
    "TokenRefreshRequired": UploadAction.RENEW_URL,
    "InvalidAccessKeyId": UploadAction.RENEW_URL,
    "RequestTimeTooSkewed": UploadAction.RENEW_URL,
    "RequestTimeout": UploadAction.RETRY,
    "InternalError": UploadAction.RETRY,
    "OperationAborted": UploadAction.RETRY,
    "ConditionalRequestConflict": UploadAction.RETRY,
    "SlowDown": UploadAction.RETRY_SLOWER,
    "ServiceUnavailable": UploadAction.RETRY_SLOWER,
    "Throttling": UploadAction.RETRY_SLOWER,
    "ThrottlingException": UploadAction.RETRY_SLOWER,
    "RequestLimitExceeded": UploadAction.RETRY_SLOWER,
    "BandwidthLimitExceeded": UploadAction.RETRY_SLOWER,
    "BadDigest": UploadAction.RESEND,
    "InvalidDigest": UploadAction.RESEND,
    "XAmzContentSHA256Mismatch": UploadAction.RESEND,
    "PreconditionFailed": UploadAction.SETTLE,
    "NoSuchUpload": UploadAction.SETTLE,
    "EntityTooLarge": UploadAction.FAIL,
    "EntityTooSmall": UploadAction.FAIL,
    "InvalidPart": UploadAction.FAIL,
    "InvalidPartOrder": UploadAction.FAIL,
    "NoSuchKey": UploadAction.FAIL,
    "KeyTooLongError": UploadAction.FAIL,
    "NotImplemented": UploadAction.FAIL,
}
# For answers without a known code, such as those of a proxy or to a HEAD.
BY_STATUS = {
    408: UploadAction.RETRY,
    409: UploadAction.RETRY,
    412: UploadAction.SETTLE,
    429: UploadAction.RETRY_SLOWER,
    501: UploadAction.FAIL,
    503: UploadAction.RETRY_SLOWER,
    505: UploadAction.FAIL,
}
_OF_KEYS = frozenset({400, 401, 403, 404})
"""With which services refuse keys that they do not know, or no longer, under codes of their own."""


def action_for(failure: S3Failure) -> UploadAction:
    """What an upload does about `failure`. The caller bounds how often."""
    if failure.expired:
        return UploadAction.RENEW_URL
    action = BY_CODE.get(failure.code) or BY_STATUS.get(failure.status)
    if action is not None:
        return action
    if failure.status >= 500:
        return UploadAction.RETRY
    return UploadAction.ASK if failure.status in _OF_KEYS else UploadAction.FAIL


def is_of_keys(code: str) -> bool:
    """Whether `code`, or the digits of a status, may mean that keys or their time were refused."""
    status = int(code) if len(code) == 3 and code.isdecimal() else 403
    return bool(code) and may_be_of_keys(S3Failure(status=status, code=code))


def may_be_of_keys(failure: S3Failure) -> bool:
    return action_for(failure) in {UploadAction.RENEW_URL, UploadAction.ASK}


def parse_error(status: int, body: bytes, headers: Mapping[str, str], *, url: str = "") -> S3Failure:
    """What an answer that is not success says. `headers` are looked up in lower case, as aiohttp's allow.

    Whether `url`, the one that was used, has expired is judged by its own life first, and then by the answer's words.

    Never raises: a body that is too large, not XML, or has a DTD (which could expand entities) counts as no S3 answer.
    """
    fields = _fields(body)
    message = _printable(fields.get("Message", ""))
    code = _printable(fields.get("Code", ""))
    expired = was_dead(url, headers.get("date", "")) or "ServerTime" in fields or "Expires" in fields
    expired = expired or _WRONG_TIME.search(message.lower()) is not None
    return S3Failure(
        status=status,
        code=code,
        message=message,
        request_id=_printable(fields.get("RequestId") or headers.get("x-amz-request-id", "")),
        region=_region(fields, message) or _printable(headers.get("x-amz-bucket-region", "")),
        expired=expired and status in _OF_KEYS and BY_CODE.get(code) is not UploadAction.SETTLE,
    )


class _NoDoctype(ET.TreeBuilder):
    def doctype(self, name: str, public_id: str | None, system: str | None) -> None:  # noqa: ARG002  # expat's call
        raise ET.ParseError("an S3 error document has no DTD")


def _fields(body: bytes) -> dict[str, str]:
    if not body or len(body) > MAX_ERROR_BYTES:
        return {}
    parser = ET.XMLParser(target=_NoDoctype())  # noqa: S314  # bounded in size, and a DTD is refused
    try:
        parser.feed(body)
        root = parser.close()
    except (ET.ParseError, ValueError, LookupError):
        return {}
    if _local(root.tag) != "Error":
        return {}
    return {_local(child.tag): (child.text or "").strip() for child in root}


def _region(fields: Mapping[str, str], message: str) -> str:
    """The right one, or the one that the service is in."""
    told = _RIGHT_REGION.search(message)
    return told[1] if told else _printable(fields.get("Region", ""))


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]


def _printable(text: str) -> str:
    """Bounded, on one line, and without what follows a question mark in a URL, which may be a signature."""
    line = "".join(character if character.isprintable() else " " for character in text[: 4 * MAX_TEXT])
    return _QUERY.sub("?...", line)[:MAX_TEXT].strip()
