"""Sent data: what people have sent for the inputs of jobs, by namespace, digest and name."""

from collections.abc import Iterator, Mapping

from orchestrator.rules.records import DataRecord

_NONE: Mapping[str, DataRecord] = {}


class SentData:
    def __init__(self) -> None:
        self._by_namespace: dict[str, dict[str, DataRecord]] = {}

    def put(self, record: DataRecord) -> None:
        self._by_namespace.setdefault(record.namespace, {})[record.digest] = record

    def drop(self, namespace: str, digest: str) -> None:
        """Also where it is not there."""
        there = self._by_namespace.get(namespace, {})
        there.pop(digest, None)
        if not there:
            self._by_namespace.pop(namespace, None)

    def of(self, namespace: str) -> Mapping[str, DataRecord]:
        """All of one namespace by digest: also what is being sent, or was deleted and is not swept yet."""
        return self._by_namespace.get(namespace, _NONE)

    def named(self, namespace: str, name: str) -> DataRecord | None:
        """What was called so last, of what is ready; what is being sent where nothing is."""
        found = [each for each in self.of(namespace).values() if not each.deleted and name in each.names]
        return max(found, key=lambda each: (each.is_ready, each.names[name], each.digest), default=None)

    def size_bytes(self, namespace: str, *, without: str = "") -> int:
        """Of all data that counts: ready or being sent, but for that of one digest."""
        there = self.of(namespace).values()
        return sum(each.size_bytes for each in there if not each.deleted and each.digest != without)

    def deleted_bytes(self, namespace: str, *, without: str = "") -> int:
        """Of all that was deleted and is in the bucket still, but for that of one digest."""
        there = self.of(namespace).values()
        return sum(each.size_bytes for each in there if each.deleted and each.digest != without)

    def __iter__(self) -> Iterator[DataRecord]:
        for there in self._by_namespace.values():
            yield from there.values()

    def __repr__(self) -> str:
        count = sum(map(len, self._by_namespace.values()))
        return f"<SentData: {count} in {len(self._by_namespace)} namespaces>"
