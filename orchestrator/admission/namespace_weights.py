"""Weights of namespaces, by which those share the fleet whose jobs wait."""

from orchestrator.rules.fair_share import DEFAULT_WEIGHT, MOST_WEIGHT
from orchestrator.rules.records import NamespaceRecord
from orchestrator.state.model import Model
from orchestrator.storage import changes
from orchestrator.storage.store import Store
from orchestrator.storage.wall_clock import now_ns
from shared.errors import Conflict, InvalidInput
from shared.ids import is_safe_id
from shared.jobs.namespaces import NamespaceInvalid

MOST_WEIGHTS = 4096


class WeightInvalid(InvalidInput):
    def __init__(self, weight: int) -> None:
        super().__init__(
            f"The weight {weight} is not possible.",
            hint=f"Give a whole number from 1 to {MOST_WEIGHT:,}; every namespace has {DEFAULT_WEIGHT} at first.",
        )


class TooManyWeights(Conflict):
    def __init__(self) -> None:
        super().__init__(
            f"{MOST_WEIGHTS:,} namespaces have a weight of their own, and no more can.",
            hint=f"Set those that are not needed any more to {DEFAULT_WEIGHT}.",
        )


async def set_weight(model: Model, store: Store, namespace: str, weight: int) -> None:
    """Raises NotReady, NamespaceInvalid, WeightInvalid, TooManyWeights. The namespace need not have any jobs yet."""
    store.check_ready()
    if not is_safe_id(namespace):
        raise NamespaceInvalid(namespace)
    if not 1 <= weight <= MOST_WEIGHT:
        raise WeightInvalid(weight)
    record = NamespaceRecord(namespace=namespace, weight=weight, modify_time=now_ns())

    async def attempt() -> None:
        known = model.namespaces.weights
        if known.get(namespace, DEFAULT_WEIGHT) == weight:
            return
        if weight == DEFAULT_WEIGHT:
            await store.delete(record.key)
        elif namespace in known:
            await store.update(record.key, record)
        elif len(known) >= MOST_WEIGHTS:
            raise TooManyWeights
        else:
            await store.create_again(record.key, record)

    await changes.insist(store, attempt)
