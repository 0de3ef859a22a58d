"""What answers of web servers mean."""

from datetime import UTC, datetime

import pytest
from yarl import URL

from compute.inputs.web.answers import (
    MAX_WAIT_SECONDS,
    NotServed,
    begins_at,
    of_status,
    redirected,
    shown,
    validator_of,
)
from shared.jobs.states import FailureReason as R

NOW = datetime(2026, 11, 29, 12, 0, 0, tzinfo=UTC)
DATES = {"Last-Modified": "Sun, 29 Nov 2026 11:00:00 GMT", "Date": "Sun, 29 Nov 2026 12:00:00 GMT"}


@pytest.mark.parametrize(
    ("status", "reason", "may_pass"),
    [
        (404, R.INPUT_NOT_FOUND, False),
        (410, R.INPUT_NOT_FOUND, False),
        (401, R.INPUT_ACCESS_DENIED, False),
        (403, R.INPUT_ACCESS_DENIED, False),
        (400, R.INPUT_NOT_FOUND, False),
        (204, R.INPUT_NOT_FOUND, False),
        (304, R.INPUT_NOT_FOUND, False),
        (408, R.INPUT_UNAVAILABLE, True),
        (429, R.INPUT_UNAVAILABLE, True),
        (500, R.INPUT_UNAVAILABLE, True),
        (503, R.INPUT_UNAVAILABLE, True),
    ],
)
def test_a_status_says_whether_asking_again_may_help(status: int, reason: R, may_pass: bool) -> None:  # noqa: FBT001
    failed = of_status(status, {}, now=NOW)
    assert (failed.reason, failed.may_pass) == (reason, may_pass)
    assert str(status) in failed.why


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7),
        ("Sun, 29 Nov 2026 12:00:09 GMT", 9),
        ("Sun, 29 Nov 2026 11:00:00 GMT", 0),
        ("999999", MAX_WAIT_SECONDS),
        ("-5", 0),
        ("soon", 0),
        ("", 0),
        ("٣", 0),
    ],
)
def test_a_server_says_when_to_ask_again_within_reason(text: str, seconds: float) -> None:
    assert of_status(503, {"Retry-After": text}, now=NOW).after_seconds == seconds


@pytest.mark.parametrize(
    ("url", "location", "target"),
    [
        ("http://a.org/x/y?k=1", "z", "http://a.org/x/z"),
        ("http://a.org/x", "//b.org/y?s=%2B%2f", "http://b.org/y?s=%2B%2f"),
        ("http://a.org/x", "https://b.org", "https://b.org/"),
        ("https://a.org/x", "https://b.org/y", "https://b.org/y"),
    ],
)
def test_a_redirect_is_followed_as_it_is_written(url: str, location: str, target: str) -> None:
    assert str(redirected(URL(url), location)) in {target, target.removesuffix("/")}


@pytest.mark.parametrize(
    "location",
    ["", "file:///etc/passwd", "ftp://a.org/", "gopher://a.org/", "data:,x", "https://u:p@a.org/"],
)
def test_no_redirect_leads_to_another_scheme_or_has_a_password(location: str) -> None:
    with pytest.raises(NotServed) as refused:
        redirected(URL("http://a.org/x"), location)
    assert refused.value.reason is R.INPUT_NOT_ALLOWED
    assert "u:p" not in refused.value.why


def test_no_redirect_leads_from_https_to_http() -> None:
    with pytest.raises(NotServed, match="https:// to http://"):
        redirected(URL("https://a.org/x"), "http://a.org/x")


@pytest.mark.parametrize(
    ("headers", "validator"),
    [
        ({"ETag": '"a"', "Accept-Ranges": "bytes"}, '"a"'),
        ({"ETag": 'W/"a"', "Accept-Ranges": "bytes"}, ""),
        ({"ETag": '"a"'}, ""),
        ({"ETag": '"a"', "Accept-Ranges": "none"}, ""),
        ({**DATES, "Accept-Ranges": "bytes"}, DATES["Last-Modified"]),
        ({**DATES, "Accept-Ranges": "bytes", "Date": "Sun, 29 Nov 2026 11:00:30 GMT"}, ""),
        ({"Last-Modified": "yesterday", "Date": "today", "Accept-Ranges": "bytes"}, ""),
        ({"Accept-Ranges": "bytes"}, ""),
    ],
)
def test_only_what_tells_two_versions_apart_for_certain_lets_a_download_go_on(
    headers: dict[str, str], validator: str
) -> None:
    assert validator_of(headers) == validator


@pytest.mark.parametrize(
    ("content_range", "total", "does"),
    [
        ("bytes 5-9/10", 10, True),
        ("bytes 5-9/10", None, True),
        ("bytes 5-9/10", 11, False),
        ("bytes 4-9/10", 10, False),
        ("bytes 5-8/10", 10, False),
        ("bytes 5-9/*", 10, False),
        ("", 10, False),
    ],
)
def test_a_rest_begins_where_it_has_to_and_goes_to_the_end(content_range: str, total: int | None, does: bool) -> None:  # noqa: FBT001
    assert begins_at({"Content-Range": content_range}, 5, total) is does


def test_a_url_is_shown_without_its_query_fragment_and_password() -> None:
    assert shown(URL("https://u:p@a.org:8443/x/y.csv?key=s3cret#part")) == "https://a.org:8443/x/y.csv"
