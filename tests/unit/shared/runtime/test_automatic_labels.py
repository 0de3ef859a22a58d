"""The labels that nodes have by themselves."""

import platform

import pytest

from shared.runtime.automatic_labels import overridden, with_automatic


@pytest.mark.parametrize(
    ("machine", "expected"),
    [("x86_64", "amd64"), ("aarch64", "arm64"), ("armv7l", "arm"), ("i686", "386"), ("riscv64", "riscv64")],
)
def test_a_machine_is_called_as_container_images_call_it(
    monkeypatch: pytest.MonkeyPatch, machine: str, expected: str
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    assert with_automatic({}, "n-1") == {"name": "n-1", "os_type": "linux", "os_arch": expected}


def test_they_take_the_place_of_those_that_an_operator_gave() -> None:
    given = {"zone": "a", "name": "mine", "os_arch": "z80"}
    assert with_automatic(given, "n-1").items() >= {"zone": "a", "name": "n-1"}.items()
    assert overridden(given) == ["name", "os_arch"]
    assert overridden({"zone": "a"}) == []


def test_what_keeps_tasks_in_their_place_is_a_label_that_nobody_else_gives() -> None:
    given = {"isolation_process": "bubblewrap", "isolation_docker": "moat", "zone": "a"}
    found = with_automatic(given, "n-1", {"process": "none"})
    assert found["isolation_process"] == "none"
    assert "isolation_docker" not in found
    assert overridden(given) == ["isolation_docker", "isolation_process"]
