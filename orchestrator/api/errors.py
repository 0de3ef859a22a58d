"""Errors of the HTTP API: the documented body, with an HTTP status by the family of the error."""

import asyncio
import logging
import math
import uuid

from aiohttp import web
from aiohttp.http import HttpProcessingError

from orchestrator.api.access.identity import proof_for
from orchestrator.api.access.other_sites import refuse_pages
from orchestrator.api.access.session_cookies import CSRF_HEADER
from orchestrator.api.bodies import MAX_BODY_BYTES, READ_SECONDS, SlowBody, answer
from orchestrator.api.routes import Handler
from shared.errors import (
    RETRY_AFTER,
    Conflict,
    Forbidden,
    InvalidInput,
    MessagingUnavailable,
    NotFound,
    PayloadTooLarge,
    Refused,
    TarponError,
    TooMuchAtOnce,
    Unauthorized,
    Unavailable,
)
from shared.ids import is_safe_id
from shared.protocol import rest
from shared.protocol.request_signature import PROOF

_log = logging.getLogger(__name__)

BEARER = 'Bearer realm="tarpon"'
REQUEST_ID = "X-Request-ID"
"""A caller's own id is taken over where it is a safe one."""
READER_GONE = 499
"""What is counted for a request whose reader left while it was dealt with; nobody gets this answer."""
WRITE_SECONDS = 45.0
"""How long a reader may take for one answer."""

_STATUS: tuple[tuple[type[TarponError], int], ...] = (
    (PayloadTooLarge, 413),
    (InvalidInput, 400),
    (NotFound, 404),
    (Conflict, 409),
    (Unauthorized, 401),
    (Refused, 403),
    (Unavailable, 503),
    (TooMuchAtOnce, 429),
)
_started = web.RequestKey("started", bool)
_request_id = web.RequestKey("request_id", str)


class _NoRequests(logging.Filter):
    """What comes in and is no HTTP is its sender's fault: nothing for the log but for who debugs."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if not isinstance(error, HttpProcessingError | web.RequestPayloadError):
            return True
        _log.debug("What was received is no HTTP request: %s.", type(error).__name__)
        return False


_no_requests = _NoRequests()


def log_no_requests_less() -> None:
    """May be called again."""
    logging.getLogger("aiohttp.server").addFilter(_no_requests)


def status_of(error: TarponError) -> int:
    """The HTTP status of an error, by its family."""
    return next((status for family, status in _STATUS if isinstance(error, family)), 500)


@web.middleware
async def errors_as_answers(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every error leaves as the documented body. A page of another site may not use a person's browser to ask."""
    asked = request.headers.get(REQUEST_ID, "")
    request[_request_id] = asked if is_safe_id(asked) else str(uuid.uuid4())
    response: web.StreamResponse = web.Response(status=READER_GONE)
    try:
        response = await _answered(request, handler)
        async with asyncio.timeout(WRITE_SECONDS):
            await response.prepare(request)
            await response.write_eof()
    except (TimeoutError, ConnectionError) as error:  # the reader is too slow, or has gone
        _log.debug("Nobody reads the answer to %s %s: %s", request.method, request.path, error)
        if request.transport is not None:
            request.transport.abort()
    return response


async def _answered(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        refuse_pages(request)
        return await handler(request)
    except TarponError as error:
        return _error_answer(request, error)
    except web.HTTPRequestEntityTooLarge:
        return _error_answer(request, PayloadTooLarge("The request", request.content_length or 0, MAX_BODY_BYTES))
    except SlowBody:
        text = f"The request did not arrive in {READ_SECONDS:g} s."
        response = _other_answer(request, 408, "RequestTimeout", text)
        response.force_close()
        return response
    except web.RequestPayloadError:
        text = "The body of the request is not what its headers say."
        response = _other_answer(
            request, 400, "BadRequest", text, "Send it as it is: a length in bytes, or whole chunks."
        )
        response.force_close()
        return response
    except web.HTTPRedirection as redirection:
        return redirection
    except web.HTTPMethodNotAllowed as error:
        text = f"{request.method[:20]} is not possible for {request.path[:200]}."
        hint = f"Possible are {', '.join(sorted(error.allowed_methods))}."
        response = _other_answer(request, 405, "MethodNotAllowed", text, hint)
        response.headers["Allow"] = error.headers["Allow"]
        return response
    except web.HTTPException as error:
        text = f"There is no {request.method[:20]} {request.path[:200]}."
        code = NotFound.code if error.status == 404 else "BadRequest"
        return _other_answer(request, error.status, code, text)
    except TimeoutError:
        return _error_answer(request, MessagingUnavailable("The state could not be written in time."))
    except ConnectionError:  # the reader went away
        raise
    except Exception:
        _log.exception("A request failed: %s %s (%s)", request.method, request.path, request[_request_id])
        if request.get(_started):
            raise  # the answer has begun; closing the connection is all that is left
        text = "The orchestrator failed to answer; its log tells how."
        return _other_answer(request, 500, "InternalError", text)


def _error_answer(request: web.Request, error: TarponError) -> web.Response:
    """What is not there, or not allowed, has one code each, as in the reference, whatever it is."""
    code, details = error.code, error.details
    if isinstance(error, TooMuchAtOnce):
        details = details | {RETRY_AFTER: f"{error.wait_seconds:.2f}"}
    family = next((each.code for each in (NotFound, Forbidden, Unauthorized) if isinstance(error, each)), code)
    if family != code:
        code, details = family, details | {rest.TARPON_CODE: code}
    body = rest.ErrorBody(
        status=status_of(error),
        message=error.message,
        request_id=request[_request_id],
        code=code,
        component="Orchestrator",
        hint=error.hint,
        details=details,
    )
    response = answer(body, body.status)
    if isinstance(error, Unauthorized):
        response.headers["WWW-Authenticate"] = BEARER if _is_of_page(request) else f'{BEARER}, Basic realm="tarpon"'
    if isinstance(error, TooMuchAtOnce):
        response.headers["Retry-After"] = str(math.ceil(error.wait_seconds))
    return response


def _is_of_page(request: web.Request) -> bool:
    """Whether a script of the page asks: at a challenge by Basic the browser would ask for a password itself."""
    return CSRF_HEADER in request.headers or request.headers.get("Sec-Fetch-Mode", "navigate") != "navigate"


def _other_answer(request: web.Request, status: int, code: str, message: str, hint: str = "") -> web.Response:
    body = rest.ErrorBody(
        status=status,
        message=message,
        request_id=request[_request_id],
        code=code,
        component="APIServer",
        hint=hint,
    )
    return answer(body, status)


async def with_headers(request: web.Request, response: web.StreamResponse) -> None:
    """What every answer carries. None may be kept, as results have URLs that are credentials."""
    request[_started] = True
    response.headers[REQUEST_ID] = request.get(_request_id, "")
    if proof := proof_for(request):
        response.headers[PROOF] = proof
    response.headers.setdefault("Cache-Control", "no-store")
    response.headers["X-Content-Type-Options"] = "nosniff"
