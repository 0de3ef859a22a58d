"""Secrets of tasks are found by namespace and name, and counted, whatever is put, put again or dropped."""

from orchestrator.rules.records import SecretRecord
from orchestrator.state.model import Model


def record(namespace: str, name: str, sealed: bytes = b"sealed") -> SecretRecord:
    return SecretRecord(
        namespace=namespace, name=name, sealed=sealed, key_id="0a", size_bytes=1, create_time=1, modify_time=1
    )


def test_what_was_put_last_counts_and_what_was_removed_is_gone() -> None:
    model = Model(max_attempts=1)
    first, again, other = record("a", "db"), record("a", "db", b"longer than that"), record("b", "db")
    model.apply(first.key, first, 1)
    model.apply(again.key, again, 2)
    model.apply(other.key, other, 3)
    assert (dict(model.secrets.of("a")), dict(model.secrets.of("b"))) == ({"db": again}, {"db": other})
    assert (len(model.secrets), model.secrets.size_bytes) == (2, 22)
    model.forget(again.key, 4)
    assert (dict(model.secrets.of("a")), len(model.secrets), model.secrets.size_bytes) == ({}, 1, 6)
    model.apply(first.key, first, 5)
    assert dict(model.secrets.of("a")) == {"db": first}
