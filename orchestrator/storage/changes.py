"""Changes: how a record is changed that somebody else may change at the same moment, and what the loser does then.

A write names the revision that was read, so that of two who change one record only the first succeeds. A user's wish is
decided about again until it is stored: `insist`. A leader looks at everything again soon, so that it is enough for it
to know that it was late, and what is stored by now: the others.
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from orchestrator.rules.records import KeyedRecord
from orchestrator.storage.contention import Losses
from orchestrator.storage.store import Store
from shared.errors import RevisionConflict

T = TypeVar("T")


async def insist(
    store: Store, attempt: Callable[[], Awaitable[T]], *, again: Callable[[], Awaitable[T]] | None = None
) -> T:
    """What comes of `attempt`, which reads the model, decides and writes, once nobody is quicker with that.

    Each time that somebody was, it waits for a moment and until the model holds what is stored; then comes `again`,
    which is the same if it is not given. Raises RevisionConflict after ten seconds of that, and MessagingUnavailable.
    """
    losses = Losses()
    while True:
        try:
            return await attempt()
        except RevisionConflict as conflict:
            await losses.stand_back(conflict)
            await store.catch_up()
            attempt = again or attempt


async def once(store: Store, key: str, write: Awaitable[None]) -> bool:
    """Whether this write of a record took place; where somebody else was quicker, the model holds what is stored now.

    Raises MessagingUnavailable: it may have taken place or not.
    """
    try:
        await write
    except RevisionConflict:
        await store.read(key)
        return False
    return True


async def create(store: Store, record: KeyedRecord) -> bool:
    """`once`, of a new record."""
    return await once(store, record.key, store.create(record.key, record))


async def update(store: Store, record: KeyedRecord, *, revision: int | None = None) -> bool:
    """`once`, of a record that is there. Who has awaited since it read it names the `revision` that it read."""
    key = record.key
    return await once(store, key, store.update(key, record, revision=revision))


async def put(store: Store, record: KeyedRecord) -> bool:
    """`update` of a record that the model knows, else `create`."""
    return await (update if store.model.revision_of(record.key) else create)(store, record)


async def delete(store: Store, key: str) -> bool:
    """`once`, of the removal of a record."""
    return await once(store, key, store.delete(key))
