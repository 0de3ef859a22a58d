"""Ports for servers that go away and come back."""

from pathlib import Path

import pytest

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


def test_processes_that_share_the_tests_share_no_port(monkeypatch: pytest.MonkeyPatch) -> None:
    given = []
    for worker in ("gw0", "gw1", "gw2"):
        monkeypatch.setenv("PYTEST_XDIST_WORKER_COUNT", "3")
        monkeypatch.setenv("PYTEST_XDIST_WORKER", worker)
        given.append({port % 3 for port in free_ports(20)})
    assert [len(each) for each in given] == [1, 1, 1]
    assert len(set.union(*given)) == 3
