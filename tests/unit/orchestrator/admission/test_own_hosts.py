"""Hosts by which others find this machine: its name, and its addresses where those do no harm."""

import socket
from ipaddress import ip_address

import pytest

from orchestrator.admission import own_hosts
from orchestrator.nats_servers.addresses import addresses
from shared.settings.config import Orchestrator
from shared.settings.tls.declared import FilePath, OrchestratorTls

NAME = socket.gethostname()


def test_addresses_are_those_towards_other_machines() -> None:
    for each in own_hosts.own_addresses():
        assert not ip_address(each).is_loopback
        assert not ip_address(each).is_link_local


def test_the_name_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_hosts, "own_addresses", lambda: ("10.1.2.3", NAME))
    assert own_hosts.own_hosts(with_addresses=True) == (NAME, "10.1.2.3")
    assert own_hosts.own_hosts(with_addresses=False) == (NAME,)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (Orchestrator(), [f"tls://{NAME}:4222", "tls://10.1.2.3:4222"]),
        (Orchestrator(host="10.9.9.9"), ["tls://10.9.9.9:4222"]),
        (Orchestrator(advertise="tarpon.example:5000"), ["tls://tarpon.example:5000"]),
        (Orchestrator(tls=OrchestratorTls(plain_text="only")), [f"nats://{NAME}:4222"]),
        (Orchestrator(tls=OrchestratorTls(server_cert=FilePath("a"))), [f"tls://{NAME}:4222"]),
    ],
    ids=["by its authority", "one address", "advertised", "plain text", "a certificate of one's own"],
)
def test_nodes_are_told_addresses_only_if_they_know_the_orchestrator_by_its_certificate(
    settings: Orchestrator, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_hosts, "own_addresses", lambda: ("10.1.2.3",))
    assert list(addresses(settings)) == told
