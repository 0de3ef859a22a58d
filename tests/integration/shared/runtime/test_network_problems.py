"""Why an address cannot be reached, as a real client meets it: each reason has its own sentence."""

import contextlib
import errno
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import pytest

from shared.runtime import network_problems as told
from shared.runtime.network_problems import why_unreachable
from tests.certificates import make_certificate
from tests.servers import HOST, free_ports

Serve = Callable[[socket.socket], None]


async def why(url: str, trusted: Path | None = None) -> str:
    context = ssl.create_default_context(cafile=trusted) if trusted else True
    limits = aiohttp.ClientTimeout(total=2)
    async with aiohttp.ClientSession(timeout=limits) as http:
        with pytest.raises((aiohttp.ClientError, TimeoutError)) as caught:
            await http.get(url, ssl=context)
    return why_unreachable(caught.value)


@contextmanager
def listening(serve: Serve) -> Iterator[int]:
    """A server in a thread, which deals with one connection after the other."""

    def run() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = server.accept()
                with connection, contextlib.suppress(OSError):
                    serve(connection)

    with socket.create_server((HOST, 0)) as server:
        thread = threading.Thread(target=run)
        thread.start()
        yield int(server.getsockname()[1])
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def hang_up(_: socket.socket) -> None:
    """Say nothing at all."""


def answer(connection: socket.socket) -> None:
    connection.recv(1)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


def say_nothing(connection: socket.socket) -> None:
    while connection.recv(4096):
        pass


async def test_where_nothing_listens_the_connection_is_refused() -> None:
    (port,) = free_ports(1)
    assert await why(f"http://{HOST}:{port}/") == told.REFUSED
    assert await why(f"http://localhost:{port}/") == told.REFUSED, "at each address of the name"


async def test_a_name_that_nobody_knows_is_no_such_host() -> None:
    assert await why("http://s3.invalid/") == told.UNKNOWN_HOST


async def test_one_that_hangs_up_or_says_nothing_is_told() -> None:
    with listening(hang_up) as port:
        assert await why(f"http://{HOST}:{port}/") == told.CLOSED
    with listening(say_nothing) as port:
        assert await why(f"http://{HOST}:{port}/") == told.TIMED_OUT


async def test_what_is_wrong_with_tls_is_told(tmp_path: Path) -> None:
    made = make_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.certificate, made.key)

    def encrypt(connection: socket.socket) -> None:
        context.wrap_socket(connection, server_side=True).close()

    with listening(encrypt) as port:
        assert await why(f"https://{HOST}:{port}/") == told.NOT_TRUSTED
        assert await why(f"https://localhost:{port}/", made.certificate) == told.OTHER_NAME
    with listening(answer) as port:
        assert await why(f"https://{HOST}:{port}/") == told.NO_TLS


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(errno.ENETUNREACH, ""), told.UNREACHABLE),
        (OSError(errno.EHOSTUNREACH, ""), told.UNREACHABLE),
        (PermissionError(errno.EPERM, ""), told.FORBIDDEN),
        (socket.gaierror(socket.EAI_AGAIN, ""), told.NOT_LOOKED_UP),
        (socket.gaierror(socket.EAI_NODATA, ""), told.UNKNOWN_HOST),
        (TimeoutError(), told.TIMED_OUT),
        (OSError("Multiple exceptions: [Errno 101] no route, [Errno 111] refused"), told.REFUSED),
        (ConnectionRefusedError(), told.REFUSED),
        (OSError(errno.EMFILE, ""), "Too many open files"),
        (ValueError("with a secret"), "ValueError"),
    ],
)
def test_what_no_test_can_bring_about_is_told_as_well(error: Exception, expected: str) -> None:
    assert why_unreachable(error) == expected


def test_the_first_cause_is_told_whatever_wraps_it() -> None:
    error = RuntimeError()
    error.__cause__ = socket.gaierror(socket.EAI_NONAME, "")
    assert why_unreachable(error) == told.UNKNOWN_HOST
