"""Which addresses a node may be sent to by strangers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.data.addresses import METADATA, AllowedAddresses, allowed_networks

INTERNET = ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1"]
KINDS = {
    "127.0.0.1": "loopback",
    "127.8.8.8": "loopback",
    "::1": "loopback",
    "::ffff:127.0.0.1": "loopback",
    "::127.0.0.1": "loopback",
    "64:ff9b::7f00:1": "loopback",
    "2002:7f00:1::": "loopback",
    "0.0.0.0": "unspecified",
    "::": "unspecified",
    "10.1.2.3": "private",
    "172.31.255.255": "private",
    "192.168.0.1": "private",
    "100.64.0.1": "private",
    "fd12:3456::1": "private",
    "::ffff:10.1.2.3": "private",
    "64:ff9b::10.1.2.3": "private",
    "169.254.1.1": "link-local",
    "fe80::1": "link-local",
    "fe80::1%eth0": "link-local",
    "224.0.0.1": "multicast",
    "ff0e::1": "multicast",
    "255.255.255.255": "reserved",
    "240.0.0.1": "reserved",
    "198.18.0.1": "reserved",
    "192.0.0.9": "reserved",
    "192.88.99.1": "reserved",
    "2001:db8::1": "reserved",
    "2001:0:7f00:1::": "reserved",
    "64:ff9b:1::1": "reserved",
    "fec0::1": "reserved",
    "3fff::1": "reserved",
    "169.254.169.254": "metadata",
    "::ffff:169.254.169.254": "metadata",
    "64:ff9b::a9fe:a9fe": "metadata",
    "fd00:ec2::254": "metadata",
    "fd00:ec2::254%2": "metadata",
    "168.63.129.16": "metadata",
    "100.100.100.200": "metadata",
}


def allowed(*entries: str) -> AllowedAddresses:
    return AllowedAddresses(allowed_networks(entries))


@pytest.mark.parametrize("address", INTERNET)
def test_machines_of_the_internet_may_be_asked(address: str) -> None:
    assert allowed().why_refused(address) == ""


@pytest.mark.parametrize(("address", "kind"), KINDS.items())
def test_what_is_no_machine_of_the_internet_is_refused_by_its_kind(address: str, kind: str) -> None:
    assert kind in allowed().why_refused(address)


@pytest.mark.parametrize("text", ["", "localhost", "127.1", "0x7f.0.0.1", "2130706433", "1.2.3.4/8"])
def test_what_is_no_address_is_refused(text: str) -> None:
    assert allowed().why_refused(text)


def test_an_operator_allows_networks_and_addresses_by_whatever_form_leads_there() -> None:
    some = allowed("10.1.0.0/16", "127.0.0.1", "fd12::/32")
    assert not any(map(some.why_refused, ["10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::a01:203", "127.0.0.1", "fd12::9"]))
    assert all(map(some.why_refused, ["10.2.0.1", "127.0.0.2", "fd13::9", "::1"]))


def test_private_stands_for_all_private_networks_and_nothing_else() -> None:
    private = allowed("Private")
    assert not any(map(private.why_refused, ["10.9.9.9", "172.16.0.1", "192.168.1.1", "100.64.0.1", "fdab::1"]))
    assert all(map(private.why_refused, ["127.0.0.1", "169.254.1.1", "224.0.0.1", "::1"]))


@pytest.mark.parametrize("address", sorted(map(str, METADATA)))
def test_a_metadata_address_has_to_be_named_by_itself(address: str) -> None:
    wide = allowed("private", "0.0.0.0/0", "::/0", "169.254.0.0/16", "169.254.169.254/31")
    assert "metadata" in wide.why_refused(address)
    assert allowed(address).why_refused(address) == ""


@pytest.mark.parametrize("entry", ["10.1.2.3/8", "public", "10.0.0.0/33", "example.org", "", "::1/128/1"])
def test_what_is_no_network_is_told(entry: str) -> None:
    with pytest.raises(ValueError, match="^" + entry.replace("/", "/") + "$"):
        tuple(allowed_networks((entry,)))


@given(st.ip_addresses(v=4))
def test_no_address_of_version_4_is_judged_otherwise_where_version_6_carries_it(address: object) -> None:
    why = allowed().why_refused(str(address))
    assert allowed().why_refused(f"::ffff:{address}") == why
    assert allowed().why_refused(f"64:ff9b::{address}") == why


@given(st.ip_addresses())
def test_every_address_is_judged(address: object) -> None:
    assert isinstance(allowed("private").why_refused(str(address)), str)
