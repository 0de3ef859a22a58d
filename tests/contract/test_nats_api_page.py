"""The page about the NATS API is what the message types say."""

from pathlib import Path

import msgspec
import pytest

from shared.data.decoding import decode
from shared.protocol.nats_api import REQUESTS
from shared.protocol.nats_api_page import EXAMPLES, render

PAGE = Path(__file__).parents[2] / "NATS-API.md"


def test_the_page_is_the_one_that_the_types_make() -> None:
    assert PAGE.read_text() == render(), "run `make docs`"


@pytest.mark.parametrize("what", REQUESTS)
def test_each_example_is_a_request_of_its_kind(what: str) -> None:
    request, warnings = decode(EXAMPLES[what], REQUESTS[what][0], what="The example", unknown="refuse")
    assert isinstance(request, msgspec.Struct)
    assert warnings == ()
