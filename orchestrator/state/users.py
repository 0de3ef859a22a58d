"""Users: who may use the APIs, as they are stored, and who waits for one of their keys to end."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from orchestrator.rules.records import UserRecord


class Users:
    def __init__(self) -> None:
        self._by_name: dict[str, UserRecord] = {}
        self._by_key: dict[str, UserRecord] = {}
        self._held: dict[str, dict[asyncio.Event, None]] = {}
        #: Users whose keys have ended, for who ends their connections over NATS; also those of long ago, at the start.
        self.ended: asyncio.Queue[str] = asyncio.Queue()

    # ---- feeding ------------------------------------------------------------------------------------------------

    def put(self, record: UserRecord) -> None:
        before = self._by_name.get(record.name)
        self._by_name[record.name] = record
        if before is not None and before.key_id != record.key_id:
            self._by_key.pop(before.key_id, None)
            self._end(before)
        self._by_key[record.key_id] = record
        if record.revoked:
            self._end(record)

    def drop(self, name: str) -> None:
        record = self._by_name.pop(name, None)
        if record is not None:
            self._by_key.pop(record.key_id, None)
            self._end(record)

    def _end(self, record: UserRecord) -> None:
        self.ended.put_nowait(record.name)
        for event in self._held.get(record.key_id, ()):
            event.set()

    # ---- reading ------------------------------------------------------------------------------------------------

    def named(self, name: str) -> UserRecord | None:
        return self._by_name.get(name)

    def of_key(self, key_id: str) -> UserRecord | None:
        return self._by_key.get(key_id)

    def all(self) -> list[UserRecord]:
        return sorted(self._by_name.values(), key=lambda record: record.name)

    @contextmanager
    def held(self, key_id: str) -> Iterator[asyncio.Event]:
        """What is set when the key is revoked, or its user is gone."""
        event = asyncio.Event()
        self._held.setdefault(key_id, {})[event] = None
        try:
            yield event
        finally:
            del self._held[key_id][event]
            if not self._held[key_id]:
                del self._held[key_id]

    def __len__(self) -> int:
        return len(self._by_name)

    def __repr__(self) -> str:
        return f"<Users, {len(self)} of them>"
