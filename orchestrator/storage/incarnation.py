"""Incarnations: they tell decisions apart that are taken again after a restore from a backup.

The key of a decision names the job, its version, the part and the attempt, and gives the execution its id. A state that
is older than what happened takes some decisions a second time. Their results would then go where those of the first
time are, and nodes would take them for what they have done. Nothing can find out by itself that a folder was copied, so
whoever restores one says so, and from then on all decisions carry a number of their own.
"""

import asyncio
import logging
import os

from orchestrator.rules.records import OF_INCARNATIONS, IncarnationRecord
from orchestrator.storage import changes
from orchestrator.storage.store import Store
from orchestrator.storage.wall_clock import now_ns
from shared.errors import MessagingUnavailable

_log = logging.getLogger(__name__)

RETRY_SECONDS = 0.5


async def begin(store: Store) -> str:
    """Store a new incarnation, however long it takes, and give it."""
    await store.ready.wait()
    record = IncarnationRecord(schema=OF_INCARNATIONS, incarnation=os.urandom(4).hex(), since=now_ns())
    while True:
        try:
            await store.catch_up()
            is_there = store.model.revision_of(record.key) > 0
            if await (changes.update(store, record) if is_there else changes.create(store, record)):
                break
        except MessagingUnavailable as error:
            _log.info("The new incarnation is not stored yet: %s", error.message)
            await asyncio.sleep(RETRY_SECONDS)
    _log.warning("The state was restored: incarnation %s of it begins.", record.incarnation)
    return record.incarnation
