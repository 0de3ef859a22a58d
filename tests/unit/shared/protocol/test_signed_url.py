"""A signed URL shows where it leads and never what makes it work."""

import logging
import traceback

import msgspec
import pytest
from rich.pretty import pretty_repr
from rich.traceback import Traceback

from shared.jobs.capacity import Capacity
from shared.jobs.spec import Task
from shared.protocol.messages import GrantGiven
from shared.protocol.signed_url import Grant, SignedUrl
from tests.builders import new_assignment

SIGNATURE = "5ec4e75ec4e7"
ADDRESS = "https://bucket.s3.example.com:9000/prefix/j-1/e-1.tar.gz"
SIGNED = SignedUrl(
    method="PUT",
    url=f"{ADDRESS}?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature={SIGNATURE}",
    headers={"x-amz-secret-header": SIGNATURE},
    lifetime_seconds=3600,
)
GRANT = Grant(SIGNED, received_at=0.0)
MESSAGES = [
    GrantGiven(archive=SIGNED),
    new_assignment(resources=Capacity(), task=Task(), archive=SIGNED),
]


def test_its_text_is_method_address_and_lifetime() -> None:
    assert repr(SIGNED) == str(SIGNED) == f"<SignedUrl PUT {ADDRESS}, 3600 s>"


@pytest.mark.parametrize(
    "holder", [SIGNED, GRANT, *MESSAGES, [SIGNED], {"url": SIGNED}], ids=lambda it: type(it).__name__
)
def test_no_way_to_print_it_shows_the_query_or_a_header(holder: object) -> None:
    shown = [repr(holder), str(holder), f"{holder}", "%s %r" % (holder, holder), pretty_repr(holder)]  # noqa: UP031
    for text in shown:
        assert SIGNATURE not in text
        assert "X-Amz" not in text
        assert ADDRESS in text


@pytest.mark.parametrize(
    "url", ["", "nonsense", f"https://[broken?X-Amz-Signature={SIGNATURE}", f"?X-Amz-Signature={SIGNATURE}"]
)
def test_a_url_that_is_none_can_be_printed_too(url: str) -> None:
    assert SIGNATURE not in repr(msgspec.structs.replace(SIGNED, url=url))


def fails(local: SignedUrl) -> None:
    raise ValueError(local)


def test_a_traceback_with_local_variables_shows_no_query() -> None:
    with pytest.raises(ValueError) as caught:
        fails(SIGNED)
    error = caught.value
    plain = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    rich = Traceback.from_exception(type(error), error, error.__traceback__, show_locals=True)
    frames = pretty_repr([frame.locals for stack in rich.trace.stacks for frame in stack.frames])
    for text in (plain, frames):
        assert "local" in text
        assert SIGNATURE not in text


def test_a_log_line_about_it_shows_no_query(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger(__name__).warning("Cannot use %s or %r", SIGNED, GRANT)
    assert ADDRESS in caplog.text
    assert SIGNATURE not in caplog.text


def test_it_travels_whole() -> None:
    assert msgspec.json.decode(msgspec.json.encode(SIGNED), type=SignedUrl) == SIGNED


def test_a_grant_dies_its_lifetime_after_it_was_received() -> None:
    assert Grant(SIGNED, received_at=100.0).expires_at == 3700.0
    assert 3590 < Grant(SIGNED).remaining_seconds() <= 3600
    assert GRANT.remaining_seconds() < Grant(SIGNED).remaining_seconds()
