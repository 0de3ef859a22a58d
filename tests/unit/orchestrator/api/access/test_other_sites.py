"""Who shows no key asks from a page only where the page's name leads here for everybody."""

import socket

import pytest
from aiohttp.test_utils import make_mocked_request

from orchestrator.api.access.other_sites import refuse_pages_by_other_names
from shared.errors import Refused


@pytest.mark.parametrize("host", ["10.0.0.7:1234", "[fd00::7]:1234", "localhost:1234", f"{socket.gethostname()}:1234"])
def test_a_page_is_served_by_an_address_and_by_the_name_of_the_machine(host: str) -> None:
    refuse_pages_by_other_names(make_mocked_request("PUT", "/", {"Host": host, "Origin": f"http://{host}"}))


def test_a_page_that_has_come_by_another_name_is_refused() -> None:
    host = "evil.example:1234"
    with pytest.raises(Refused, match="another's name"):
        refuse_pages_by_other_names(make_mocked_request("PUT", "/", {"Host": host, "Origin": f"http://{host}"}))


def test_a_program_may_use_any_name() -> None:
    refuse_pages_by_other_names(make_mocked_request("PUT", "/", {"Host": "orchestrator.example:1234"}))
