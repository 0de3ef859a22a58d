"""Metadata addresses and containers: what the kernel of a machine of one's own does, and what is told."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from compute.firewall.container_networks import ContainerNetworks
from compute.firewall.metadata import CHAIN, NotGuarded, guard
from shared.data.addresses import METADATA
from tests.private_network import in_private_network
from tests.servers import HOST

SUBNET = "172.30.0.0/16"
METADATA_ADDRESS, ORDINARY = "169.254.169.254", "203.0.113.7"
_SERVE = (
    "import socket\n"
    "listening = socket.create_server(('0.0.0.0', 80))\n"
    "print('ready', flush=True)\n"
    "while True: listening.accept()[0].close()\n"
)
_CONNECT = "import socket, sys; socket.create_connection((sys.argv[1], 80), 1).close()"


def ip(*arguments: str, within: int = 0) -> None:
    apart = ["nsenter", f"--net=/proc/{within}/ns/net", "--"] if within else []
    subprocess.run([*apart, "ip", *arguments], check=True)


def machine(name: str, address: str, gateway: str) -> "subprocess.Popen[str]":
    """Another one, with a wire to this one."""
    command = ["unshare", "--net", "--", sys.executable, "-c", _SERVE]
    started = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert started.stdout is not None
    assert started.stdout.readline() == "ready\n"
    ip("link", "add", f"to-{name}", "type", "veth", "peer", "name", "up0", "netns", str(started.pid))
    ip("addr", "add", f"{gateway}/16", "dev", f"to-{name}")
    ip("link", "set", f"to-{name}", "up")
    for arguments in (
        ("link", "set", "lo", "up"),
        ("addr", "add", f"{address}/16", "dev", "up0"),
        ("link", "set", "up0", "up"),
        ("route", "add", "default", "via", gateway),
    ):
        ip(*arguments, within=started.pid)
    return started


def reaches(address: str, *, within: int = 0) -> bool:
    apart = ["nsenter", f"--net=/proc/{within}/ns/net", "--"] if within else []
    command = [*apart, sys.executable, "-c", _CONNECT, address]
    return subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode == 0


def rules() -> list[str]:
    shown = subprocess.run(["iptables", "-t", "raw", "-S"], check=True, capture_output=True, text=True).stdout
    return [line for line in shown.splitlines() if CHAIN in line]


@in_private_network
def test_containers_reach_everything_but_metadata_addresses_and_the_machine_goes_on_to_reach_them() -> None:
    ip("link", "set", "lo", "up")
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    cloud = machine("cloud", "198.51.100.2", "198.51.100.1")
    container = machine("container", "172.30.0.2", "172.30.0.1")
    for address in (METADATA_ADDRESS, ORDINARY):
        ip("addr", "add", f"{address}/32", "dev", "lo", within=cloud.pid)
        ip("route", "add", address, "via", "198.51.100.2")
    assert reaches(METADATA_ADDRESS, within=container.pid), "as it is without a guard"
    guard([SUBNET])
    assert not reaches(METADATA_ADDRESS, within=container.pid)
    assert reaches(ORDINARY, within=container.pid)
    assert reaches(METADATA_ADDRESS)


@in_private_network
def test_a_guard_is_set_up_once_whoever_asks_for_it_and_again_where_it_is_gone() -> None:
    guard([SUBNET])
    first = rules()
    assert len([each for each in first if each.endswith("-j DROP")]) == sum(each.version == 4 for each in METADATA)
    guard([SUBNET])
    assert rules() == first
    subprocess.run(["iptables", "-t", "raw", "-F"], check=True)
    guard([SUBNET, "fd12::/64"])
    assert sorted(rules()) == sorted(first)


@pytest.mark.parametrize("subnets", [[], [""], ["everything"]])
def test_networks_that_are_not_known_are_not_guarded(subnets: list[str]) -> None:
    with pytest.raises(NotGuarded, match="does not say which addresses"):
        guard(subnets)


class TestNetworks:
    async def test_no_task_has_the_machine_s_own_network_where_there_is_a_metadata_address(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with await asyncio.start_server(lambda _, writer: writer.close(), HOST, 0) as server:
            monkeypatch.setattr("compute.firewall.container_networks._LOCAL", (HOST,))
            monkeypatch.setattr("compute.firewall.container_networks._PORT", server.sockets[0].getsockname()[1])
            networks, open_ones = ContainerNetworks(allows_metadata=False), ContainerNetworks(allows_metadata=True)
            await networks.look()
            await open_ones.look()
        assert "This node offers no network Host" in networks.host_refused
        assert open_ones.host_refused == ""

        async def none(_: str) -> list[str]:
            return []

        await networks.guard("bridge", none, is_ours=True)
        assert "because the container engine does not say which addresses" in networks.problem
        await networks.guard("bridge", none, is_ours=False)
        assert "because the container engine is not run by root" in networks.problem
        await open_ones.guard("bridge", none, is_ours=False)
        assert open_ones.problem == ""

    async def test_elsewhere_there_is_nothing_to_tell(
        self, monkeypatch: pytest.MonkeyPatch, unused_tcp_port: int
    ) -> None:
        monkeypatch.setattr("compute.firewall.container_networks._LOCAL", (HOST,))
        monkeypatch.setattr("compute.firewall.container_networks._PORT", unused_tcp_port)
        networks = ContainerNetworks(allows_metadata=False)
        await networks.look()
        assert (networks.host_refused, networks.problem) == ("", "")
