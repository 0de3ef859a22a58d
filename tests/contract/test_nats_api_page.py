"""The pages about the NATS API are what the message types say."""

import msgspec
import pytest

from shared.data.decoding import decode
from shared.protocol.nats_api import EVENTS, REQUESTS
from tests.documents import text_of
from tests.nats_api_page import EXAMPLES, pages

PAGES = ("nats-api.md", "nats-api-requests.md", "nats-api-jobs.md", "nats-api-answers.md", "nats-api-nodes.md")


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_the_one_that_the_types_make(page: str) -> None:
    assert tuple(pages()) == PAGES
    assert text_of(f"docs/{page}") == pages()[page], "run `make docs`"


def test_the_page_lists_every_request_and_event() -> None:
    page = text_of("docs/nats-api.md")
    assert [what for what in REQUESTS if f"\n### {what}\n" not in page] == []
    assert [what for what in EVENTS if f".<jobID>.{what}` has a [" not in page] == []


@pytest.mark.parametrize("what", REQUESTS)
def test_each_example_is_a_request_of_its_kind(what: str) -> None:
    request, warnings = decode(EXAMPLES[what], REQUESTS[what][0], what="The example", unknown="refuse")
    assert isinstance(request, msgspec.Struct)
    assert warnings == ()
