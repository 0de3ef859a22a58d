"""Keeping of the keys of nodes: what the leader sees to, also of what orchestrators of earlier versions have done."""

import asyncio
import logging
from collections.abc import Iterator
from itertools import chain
from operator import itemgetter

from orchestrator.admission.key_records import keep_lives
from orchestrator.rules.joining.key_lives import kept
from orchestrator.state.model import Model
from orchestrator.storage import changes
from orchestrator.storage.store import Store
from orchestrator.storage.wall_clock import now_ns
from shared.errors import TarponError
from shared.ids import NodeId
from shared.protocol import subjects
from shared.runtime.aio import pipelined

_log = logging.getLogger(__name__)

TICK_SECONDS = 10.0
WRITES_AT_ONCE = 64
MOST_DELETED = 10_000
"""Of so many nodes that were deleted the keys stay known: of those that went last."""


async def keep_keys(store: Store) -> None:
    """Until cancelled."""
    while True:
        try:
            await tend_keys(store)
        except TarponError as error:
            _log.info("Since when keys are those of their nodes is not kept at present: %s", error.message)
        await asyncio.sleep(TICK_SECONDS)


async def tend_keys(store: Store) -> None:
    """Store what is missing of the lives of all keys, and forget those of nodes that were deleted long ago.

    Raises MessagingUnavailable, RevisionConflict.
    """
    await pipelined(list(_behind(store.model)), lambda node: keep_lives(store, node), at_once=WRITES_AT_ONCE)
    gone = [subjects.keys_record(node) for node in _forgotten(store.model)]
    await pipelined(gone, lambda key: changes.delete(store, key), at_once=WRITES_AT_ONCE)


def _behind(model: Model) -> Iterator[NodeId]:
    """Those of whose keys another thing is known than is stored."""
    now = now_ns()
    for node in chain(model.bindings, (each for each in model.keys if each not in model.bindings)):
        known = model.keys.get(node)
        if kept(node, known, model.bindings.get(node), now) != known:
            yield node


def _forgotten(model: Model) -> list[NodeId]:
    """Those that went first, where there are too many."""
    gone = [
        (record.last.until, node) for node, record in model.keys.items() if node not in model.bindings and record.last
    ]
    return [node for _, node in sorted(gone, key=itemgetter(0), reverse=True)[MOST_DELETED:]]
