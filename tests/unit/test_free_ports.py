"""Ports for servers that go away and come back."""

from pathlib import Path

from tests.servers import free_ports


def test_free_ports_differ_and_are_none_that_outgoing_connections_are_given() -> None:
    low, high = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split())
    ports = free_ports(50)
    assert len(set(ports)) == 50
    if low >= 20_480:
        assert not [port for port in ports if low <= port <= high]


def test_no_port_is_given_twice() -> None:
    ports = [port for _ in range(400) for port in free_ports(2)]
    assert len(set(ports)) == 800
