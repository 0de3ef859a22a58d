"""What an address of a NATS server may look like."""

import pytest

from shared.errors import InvalidInput
from shared.protocol.nats_address import parse_nats_address


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("nats.example.com", "nats://nats.example.com:4222"),
        ("nats.example.com:4333", "nats://nats.example.com:4333"),
        ("nats://nats.example.com/", "nats://nats.example.com:4222"),
        ("tls://10.0.0.1", "tls://10.0.0.1:4222"),
        ("TLS://Nats.Example.com:4333", "tls://Nats.Example.com:4333"),
        ("Nats://a_b", "nats://a_b:4222"),
        ("[::1]:4333", "nats://[::1]:4333"),
        ("tls://[fe80::1%eth0]", "tls://[fe80::1%eth0]:4222"),
    ],
)
def test_an_address_is_read_in_one_way(text: str, url: str) -> None:
    assert parse_nats_address(text).url == url


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nats://",
        "nats://:4222",
        "nats://[::1",
        "nats://[zz]:1",
        "nats://[10.0.0.1]:1",
        "::1",
        "nats://a:99999",
        "nats://a:0",
        "nats://a:4222x",
        "nats://a:-1",
        "nats://a b",
        " nats://a",
        "nats://a\n",
        "nats://a,b:1",
        "nats://nats://a",
        "nats:/a:4222",
        "nats://a/path",
        "nats://a?tls=1",
        "nats://a..b",
        "http://a",
    ],
)
def test_what_is_no_address_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_nats_address(text)
    assert repr(text) in str(refused.value)


@pytest.mark.parametrize("scheme", ["ws", "wss", "WSS"])
def test_web_sockets_are_refused_by_name(scheme: str) -> None:
    with pytest.raises(InvalidInput, match="NATS over WebSocket, which Tarpon does not use; write nats:// or tls://"):
        parse_nats_address(f"{scheme}://nats.example.com:443/nats")


@pytest.mark.parametrize("text", ["nats://hunter2@a", "tls://me:hunter2@[::1", "hunter2@a:1"])
def test_a_password_in_an_address_is_not_told_again(text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_nats_address(text)
    assert "hunter2" not in str(refused.value)
