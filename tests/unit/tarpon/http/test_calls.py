"""An error that the orchestrator tells is one with its own code, also where another one is told to other clients."""

import msgspec

from shared.errors import RemoteError
from shared.protocol.rest import TARPON_CODE, ErrorBody
from tarpon.http.calls import NotAnOrchestrator, refusal

URL = "http://127.0.0.1:1"


def told(body: ErrorBody) -> RemoteError:
    found = refusal(URL, 404, msgspec.json.encode(body))
    assert isinstance(found, RemoteError)
    return found


def test_the_own_code_of_an_error_comes_before_that_for_other_clients() -> None:
    details = {TARPON_CODE: "NodeNotFound", "Node": "n-1"}
    error = told(ErrorBody(message="There is no node 'n-1'.", code="NotFound", details=details))
    assert (error.remote_code, error.details) == ("NodeNotFound", {"Node": "n-1"})


def test_without_one_the_code_is_that_of_the_body() -> None:
    assert told(ErrorBody(message="no", code="NotReady")).remote_code == "NotReady"
    assert told(ErrorBody(message="no")).remote_code == "UnknownError"


def test_what_is_no_such_body_is_not_of_an_orchestrator() -> None:
    assert isinstance(refusal(URL, 404, b"<html>"), NotAnOrchestrator)
