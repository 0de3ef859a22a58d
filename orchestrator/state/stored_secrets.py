"""Secrets of tasks as they are stored: by namespace and name, and how much there is of them."""

from collections.abc import Iterator, Mapping

from orchestrator.rules.records import SecretRecord

_NONE: Mapping[str, SecretRecord] = {}


class StoredSecrets:
    """Their values are sealed: nothing here can open them."""

    def __init__(self) -> None:
        #: How many bytes all of them have that are stored.
        self.size_bytes = 0
        self._by_key: dict[str, SecretRecord] = {}
        self._by_namespace: dict[str, dict[str, SecretRecord]] = {}

    def put(self, key: str, record: SecretRecord) -> None:
        self.drop(key)
        self._by_key[key] = record
        self._by_namespace.setdefault(record.namespace, {})[record.name] = record
        self.size_bytes += len(record.sealed)

    def drop(self, key: str) -> None:
        """Also where it is not there."""
        record = self._by_key.pop(key, None)
        if record is None:
            return
        self.size_bytes -= len(record.sealed)
        there = self._by_namespace[record.namespace]
        del there[record.name]
        if not there:
            del self._by_namespace[record.namespace]

    def of(self, namespace: str) -> Mapping[str, SecretRecord]:
        """Those of one namespace, by name."""
        return self._by_namespace.get(namespace, _NONE)

    def __iter__(self) -> Iterator[SecretRecord]:
        return iter(self._by_key.values())

    def __len__(self) -> int:
        return len(self._by_key)

    def __repr__(self) -> str:
        return f"<StoredSecrets: {len(self._by_key)} in {len(self._by_namespace)} namespaces>"
