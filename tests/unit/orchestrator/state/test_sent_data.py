from typing import Any

from orchestrator.rules.location import Location
from orchestrator.rules.records import DataRecord
from orchestrator.state.sent_data import SentData


def record(digest: str, **more: Any) -> DataRecord:
    given: dict[str, Any] = {"namespace": "a", "ready": 1, "size_bytes": 5, "create_time": 1, "last_use": 1} | more
    location = Location(bucket="b", key="k", region="r")
    return DataRecord(digest=digest, location=location, manifest_bytes=1, files=1, **given)


def test_a_name_means_the_newest_data_that_is_ready() -> None:
    data = SentData()
    data.put(record("1", names={"n": 1}))
    data.put(record("2", names={"n": 2}))
    data.put(record("3", names={"n": 3}, ready=0))
    data.put(record("4", names={"n": 4}, deleted=1))
    data.put(record("5", names={"n": 5}, namespace="b"))
    found = data.named("a", "n")
    assert found is not None
    assert found.digest == "2"
    data.drop("a", "2")
    data.drop("a", "1")
    being_sent = data.named("a", "n")
    assert being_sent is not None
    assert being_sent.digest == "3"
    assert data.named("a", "m") is None


def test_what_is_deleted_counts_no_more_and_what_is_being_sent_does() -> None:
    data = SentData()
    data.put(record("1"))
    data.put(record("2", ready=0))
    data.put(record("3", deleted=1))
    data.put(record("4", namespace="b"))
    assert (data.size_bytes("a"), data.size_bytes("a", without="1"), data.size_bytes("c")) == (10, 5, 0)
    data.drop("a", "1")
    data.drop("a", "1")
    assert data.size_bytes("a") == 5
