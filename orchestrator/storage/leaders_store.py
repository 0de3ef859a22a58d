"""The store in the hands of the leader, who may stop leading between any two lines."""

from collections.abc import Callable

from orchestrator.storage.store import Store
from shared.messaging.transport import Connection


class LeadersStore(Store):
    """The same store in the hands of the leader: `check` raises MessagingUnavailable where it may not lead any more."""

    def __init__(self, store: Store, connection: Connection, check: Callable[[], None]) -> None:
        super().__init__(connection, store.model)
        self.ready = store.ready
        self._store = store
        self._check = check
        self.returned = store.returned
        self._removing = store._removing  # noqa: SLF001  # of its own kind, and it has the feed
        self._intake = store._intake  # noqa: SLF001  # as above
        self._standstill = store._standstill  # noqa: SLF001  # as above: it looks all the time

    def check_may_write(self) -> None:
        self._check()

    async def catch_up(self) -> None:
        await self._store.catch_up()

    def _has_returned(self, key: str, revision: int, stored_at: float) -> bool:
        return self._store._has_returned(key, revision, stored_at)  # noqa: SLF001  # it has the feed
