"""Heads of requests, as connections count them."""

import socket

import pytest

from orchestrator.api.access.connections import HEAD_BYTES, Peer


@pytest.mark.parametrize("pieces", [(b"\r\n\r\n", b"GET / HTTP/1.1"), (b"\r\n", b"\r\n\r\nGET / HTTP/1.1\r\n")])
def test_blank_lines_before_a_head_do_not_end_it(pieces: tuple[bytes, ...]) -> None:
    with socket.socket() as connection:
        peer = Peer(connection, "192.0.2.1", is_proxy=False)
        assert all(peer.takes(piece) for piece in pieces)
        assert not peer.is_whole
        assert peer.takes(b"\r\n\r\n")
        assert peer.is_whole


def test_blank_lines_count_as_headers() -> None:
    with socket.socket() as connection:
        peer = Peer(connection, "192.0.2.1", is_proxy=False)
        assert peer.takes(b"\r\n" * (HEAD_BYTES // 2))
        assert not peer.takes(b"\r\n")
