"""What is mended in nats-py's client does the same as before."""

import pytest
from nats.aio.client import Client

from shared.messaging.client import MendedClient


@pytest.mark.parametrize(
    "raw",
    [
        b"Nats-Expected-Last-Subject-Sequence: 12\r\n\r\n",
        b"A:1\r\nB:\t2 \r\nA: 3\r\n\r\n",
        b"Time: 2026-01-01T10:00:00Z\r\nEmpty:\r\n\r\n",
        b"no colon\r\n in side: x\r\n  Padded : y\r\n: nameless\r\n",
        "Umlaut: \u00fc\r\n\u00fc: x\r\n".encode(),
        b"Broken: \xff\r\n",
        b"",
    ],
)
def test_headers_are_read_as_nats_py_reads_them(raw: bytes) -> None:
    assert MendedClient._parse_header_lines(raw) == Client._parse_header_lines(raw)
