"""From where somebody asks, as bounds count it."""

import pytest

from orchestrator.admission.bounds.origins import Proxies, origin_of

TRUSTED = Proxies(("10.0.0.0/8", "2001:db8:1::/48"))


@pytest.mark.parametrize(
    ("address", "origin"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:2:3:4:5:6:7", "2001:db8:2:3::/64"),
        ("2001:db8:2:3::1", "2001:db8:2:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::1", "::/64"),
    ],
)
def test_an_address_of_version_6_counts_by_its_network(address: str, origin: str) -> None:
    assert origin_of(address) == origin


@pytest.mark.parametrize(
    ("peer", "forwarded", "origin"),
    [
        ("192.0.2.1", ("198.51.100.1",), "192.0.2.1"),
        ("10.0.0.1", (), "10.0.0.1"),
        ("10.0.0.1", ("198.51.100.1",), "198.51.100.1"),
        ("10.0.0.1", ("203.0.113.1, 198.51.100.1",), "198.51.100.1"),
        ("10.0.0.1", ("203.0.113.1, 198.51.100.1, 10.2.3.4",), "198.51.100.1"),
        ("10.0.0.1", ("203.0.113.1", "198.51.100.1", "10.2.3.4"), "198.51.100.1"),
        ("10.0.0.1", ("10.9.9.9, 10.2.3.4",), "10.9.9.9"),
        ("10.0.0.1", ("203.0.113.1, unknown, 10.2.3.4",), "10.2.3.4"),
        ("10.0.0.1", ("203.0.113.1, unknown",), "10.0.0.1"),
        ("10.0.0.1", ("",), "10.0.0.1"),
        ("10.0.0.1", (", ,",), "10.0.0.1"),
        ("10.0.0.1", ("198.51.100.1:4711",), "198.51.100.1"),
        ("10.0.0.1", ("[2001:db8:2:3::1]:4711",), "2001:db8:2:3::/64"),
        ("2001:db8:1::1", ("2001:db8:2:3::1",), "2001:db8:2:3::/64"),
        ("::ffff:10.0.0.1", ("198.51.100.1",), "198.51.100.1"),
    ],
)
def test_the_last_address_that_no_trusted_proxy_has_asks(peer: str, forwarded: tuple[str, ...], origin: str) -> None:
    assert TRUSTED.origin(peer, forwarded_for=forwarded) == origin


@pytest.mark.parametrize(
    ("described", "origin"),
    [
        (("for=198.51.100.1",), "198.51.100.1"),
        (('for="[2001:db8:2:3::1]:4711";proto=https',), "2001:db8:2:3::/64"),
        (("for=203.0.113.1, For=198.51.100.1;by=10.0.0.1",), "198.51.100.1"),
        (("proto=https;for=198.51.100.1, for=10.2.3.4",), "198.51.100.1"),
        (("for=203.0.113.1, for=_hidden",), "10.0.0.1"),
        (("by=10.0.0.1",), "10.0.0.1"),
        (("for=203.0.113.1", "for=198.51.100.1"), "198.51.100.1"),
        (("for=203.0.113.1", "for=198.51.100.1", "for=10.2.3.4"), "198.51.100.1"),
        (('for=198.51.100.1;by="_a, for=203.0.113.1"',), "198.51.100.1"),
        (('for=198.51.100.1;by="_a;for=203.0.113.1"',), "198.51.100.1"),
        (('by="_a;for=203.0.113.1";for=198.51.100.1',), "198.51.100.1"),
        ((r'for=198.51.100.1;by="\", for=203.0.113.1"',), "198.51.100.1"),
        (('for=203.0.113.1;by="', "for=198.51.100.1"), "198.51.100.1"),
        (("for=198.51.100.1", 'for=203.0.113.1;by="'), "10.0.0.1"),
        (("for=203.0.113.1;for=198.51.100.1",), "10.0.0.1"),
        (("for=203.0.113.1", ""), "10.0.0.1"),
    ],
)
def test_forwarded_tells_the_same(described: tuple[str, ...], origin: str) -> None:
    assert TRUSTED.origin("10.0.0.1", forwarded=described) == origin


def test_of_two_headers_that_tell_of_two_addresses_neither_is_believed() -> None:
    described = ("for=203.0.113.1",)
    assert TRUSTED.origin("10.0.0.1", forwarded_for=("198.51.100.1",), forwarded=described) == "10.0.0.1"
    assert TRUSTED.origin("10.0.0.1", forwarded_for=("203.0.113.1",), forwarded=described) == "203.0.113.1"
