"""Answers of servers to whoever downloads a file: what they mean, and whether asking again may help.

Nothing told here has a path or a query of a redirect in it, nor a text of the server's or of aiohttp's.
"""

import re
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import aiohttp
from yarl import URL

from shared.data.plain_text import printable
from shared.jobs.inputs.kinds import url_problem
from shared.jobs.states import FailureReason
from shared.runtime.network_problems import why_unreachable
from shared.web.guarded_http import IDLE_SECONDS, AddressRefused

REDIRECTS = frozenset({301, 302, 303, 307, 308})
WHOLE = frozenset({200, 203})
PARTIAL = 206
RANGE_REFUSED = 416
MAX_WAIT_SECONDS = 120.0
"""However much later a server wants to be asked again."""
_FOR_NOW = frozenset({408, 425, 429})
_SETTING = "Compute.Inputs.AllowedAddresses"
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})\Z")
_CERTAIN_SECONDS = 60
"""So much older than the answer has a date to be, for it to tell two versions apart (RFC 9110, section 8.8.2.2)."""


class NotServed(Exception):
    """Why one attempt has not brought the file, to go on with after "it cannot be fetched: "."""

    def __init__(self, reason: FailureReason, why: str, *, may_pass: bool = False, after_seconds: float = 0.0) -> None:
        super().__init__(why)
        self.reason = reason
        self.why = why
        self.may_pass = may_pass
        self.after_seconds = after_seconds


def of_status(status: int, headers: Mapping[str, str], *, now: datetime) -> NotServed:
    """Of an answer that holds no file."""
    told = f"(status {status})"
    if status in {404, 410}:
        return NotServed(FailureReason.INPUT_NOT_FOUND, f"its server says that it is not there {told}")
    if status in {401, 403, 407}:
        return NotServed(
            FailureReason.INPUT_ACCESS_DENIED, f"its server gives it to nobody without a permission {told}"
        )
    if status in _FOR_NOW or status >= 500:
        wait = _retry_after(headers.get("Retry-After", ""), now)
        return _for_now(f"its server cannot give it at present {told}", after_seconds=wait)
    return NotServed(FailureReason.INPUT_NOT_FOUND, f"its server answers with no file {told}")


def of_error(error: Exception) -> NotServed:
    """Of what aiohttp raises."""
    if why := _refused(error):
        return address_refused(why)
    match error:
        case aiohttp.InvalidURL():
            return NotServed(FailureReason.INPUT_NOT_FOUND, "its host is written in no way that a name or address is")
        case aiohttp.ClientResponseError():
            return longer_than_told()
        case aiohttp.ClientPayloadError():
            return _for_now("its server sends less than it says, or the connection breaks off")
        case aiohttp.ClientSSLError() | ssl.SSLError():
            return NotServed(FailureReason.INPUT_UNAVAILABLE, why_unreachable(error))
        case TimeoutError() if getattr(error, "errno", None) is None:
            return _for_now(f"its server sends nothing for {IDLE_SECONDS:.0f} s, or cannot be reached")
        case _:
            return _for_now(why_unreachable(error))


def address_refused(why: str) -> NotServed:
    return NotServed(
        FailureReason.INPUT_NOT_ALLOWED,
        f"its host has {why}, and the operator of this node does not allow that ({_SETTING})",
    )


def longer_than_told() -> NotServed:
    """Of a body that is followed by more bytes, or of what is no HTTP at all."""
    return NotServed(FailureReason.INPUT_DAMAGED, "its server sends more than it says, or what is not HTTP")


def redirected(url: URL, location: str) -> URL:
    """Where to. Raises NotServed."""
    refused = FailureReason.INPUT_NOT_ALLOWED
    try:
        target = url.join(URL(location, encoded=location.isascii()))
        target_text = str(target)
    except ValueError:
        raise NotServed(FailureReason.INPUT_DAMAGED, "its server redirects to what is not a URL") from None
    if not location or url_problem(target_text):
        raise NotServed(refused, "its server redirects to what is no http:// or https:// URL without a password")
    if url.scheme == "https" and target.scheme == "http":
        raise NotServed(refused, "its server redirects from https:// to http://, which anybody on the way can change")
    return target


def validator_of(headers: Mapping[str, str]) -> str:
    """By which a later answer shows to have the very same bytes; empty where ranges cannot be relied on."""
    if "bytes" not in headers.get("Accept-Ranges", "").lower():
        return ""
    etag = headers.get("ETag", "").strip()
    if etag.startswith('"') and etag.endswith('"') and len(etag) > 2:
        return etag
    changed, sent = _date(headers.get("Last-Modified", "")), _date(headers.get("Date", ""))
    if changed and sent and (sent - changed).total_seconds() >= _CERTAIN_SECONDS:
        return headers["Last-Modified"].strip()
    return ""


def begins_at(headers: Mapping[str, str], at: int, total: int | None) -> bool:
    """Whether a partial answer begins at this byte and goes to the end of a file of this size."""
    found = _CONTENT_RANGE.match(headers.get("Content-Range", ""))
    if found is None:
        return False
    first, last, size = map(int, found.groups())
    return first == at and last == size - 1 and total in {None, size}


def shown(url: URL) -> str:
    """What may be told of a URL."""
    return printable(f"{url.scheme}://{url.host_port_subcomponent}{url.raw_path}")[:200]


def _for_now(why: str, *, after_seconds: float = 0.0) -> NotServed:
    return NotServed(FailureReason.INPUT_UNAVAILABLE, why, may_pass=True, after_seconds=after_seconds)


def _refused(error: BaseException) -> str:
    if isinstance(error, AddressRefused):
        return str(error)
    inner = getattr(error, "os_error", None)
    return _refused(inner) if isinstance(inner, BaseException) else ""


def _retry_after(text: str, now: datetime) -> float:
    """Seconds or a date (RFC 9110, section 10.2.3)."""
    if text.strip().isascii() and text.strip().isdigit():
        return min(float(text), MAX_WAIT_SECONDS)
    date = _date(text)
    return min(max(0.0, (date - now).total_seconds()), MAX_WAIT_SECONDS) if date else 0.0


def _date(text: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
