"""A node is called after its host at its first start, and keeps its name whatever happens to the host's."""

import re
import socket
from pathlib import Path

import msgspec
import pytest

from compute.uplink.identity import MAX_HOST, NODE_FILE, Identity, _new_name, load_identity
from shared.ids import is_safe_id
from shared.settings.config import Config


def load(folder: Path, provider: str = Config().name_provider) -> Identity:
    return load_identity(folder, provider)


def test_a_new_node_is_called_after_its_host(tmp_path: Path) -> None:
    host = re.sub(r"[^A-Za-z0-9_-]+", "-", socket.gethostname().partition(".")[0])[:MAX_HOST].strip("-")
    assert load(tmp_path).node_id.startswith(host)


def test_two_nodes_of_one_host_have_different_names(tmp_path: Path) -> None:
    assert load(tmp_path / "one").node_id != load(tmp_path / "two").node_id


@pytest.mark.parametrize("provider", ["host", "puuid"])
def test_a_node_keeps_its_name(tmp_path: Path, provider: str) -> None:
    first = load(tmp_path, provider)
    assert load(tmp_path, provider) == first


def test_a_node_that_was_called_by_a_uuid_goes_on_to_be(tmp_path: Path) -> None:
    (tmp_path / NODE_FILE).write_bytes(
        msgspec.json.encode({"id": "n-0b6e5c5e-0000-4000-8000-000000000000", "schema": 1})
    )
    assert load(tmp_path).node_id == "n-0b6e5c5e-0000-4000-8000-000000000000"


@pytest.mark.parametrize(
    ("host", "beginning"),
    [
        ("build-01", "build-01-"),
        ("build-01.example.com", "build-01-"),
        ("ip-10-0-0-1.eu-central-1.compute.internal", "ip-10-0-0-1-"),
        ("Büro PC", "B-ro-PC-"),
        ("-odd-", "odd-"),
        ("x" * 200, "x" * MAX_HOST + "-"),
        ("localhost", "n-"),
        ("localhost.localdomain", "n-"),
        ("", "n-"),
        ("...", "n-"),
    ],
)
def test_whatever_the_host_is_called_the_name_can_be_an_id(host: str, beginning: str) -> None:
    name = _new_name(host)
    assert name.startswith(beginning)
    assert is_safe_id(name)
    assert name != _new_name(host)
