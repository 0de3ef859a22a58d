"""What is stored opens under its own name and key, and under no other."""

import pytest

from orchestrator.admission.nats_jwt import BadSignature
from orchestrator.admission.secret_box import SecretBox, SecretUnreadable, sealed_to
from shared.settings.secret import Secret

BOX = SecretBox(Secret("the key"))


def test_a_value_is_what_it_was_after_being_stored() -> None:
    assert BOX.open("a", "db", BOX.close("a", "db", b"value")) == b"value"


def test_the_same_value_is_never_stored_the_same_way() -> None:
    assert BOX.close("a", "db", b"value") != BOX.close("a", "db", b"value")


@pytest.mark.parametrize(("namespace", "name"), [("b", "db"), ("a", "dc"), ("db", "a")])
def test_what_is_stored_does_not_open_under_another_name(namespace: str, name: str) -> None:
    with pytest.raises(SecretUnreadable):
        BOX.open(namespace, name, BOX.close("a", "db", b"value"))


def test_another_key_opens_nothing_and_is_told_apart() -> None:
    other = SecretBox(Secret("another key"))
    assert other.key_id != BOX.key_id
    with pytest.raises(SecretUnreadable):
        other.open("a", "db", BOX.close("a", "db", b"value"))


@pytest.mark.parametrize("at", [0, 30, -1])
def test_what_was_changed_on_the_way_does_not_open(at: int) -> None:
    closed = bytearray(BOX.close("a", "db", b"value"))
    closed[at] ^= 1
    with pytest.raises(SecretUnreadable):
        BOX.open("a", "db", bytes(closed))


def test_what_is_cut_does_not_open() -> None:
    with pytest.raises(SecretUnreadable):
        BOX.open("a", "db", b"short")


@pytest.mark.parametrize("key", ["", "UAAAA", "A" * 56])
def test_nothing_is_sealed_to_what_is_no_key_of_a_node(key: str) -> None:
    with pytest.raises(BadSignature):
        sealed_to(key, b"content")


def test_no_key_is_in_what_is_shown_of_the_box() -> None:
    assert "the key" not in repr(BOX)
