"""New lists: what is stored of long inputs while jobs are submitted, and removed again where no job came to name it."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from orchestrator.inputs.resolvers import InputResolvers
from orchestrator.rules.frozen_inputs import FrozenInputs, FrozenSource
from orchestrator.state.model import Model
from shared.errors import MessagingUnavailable, TarponError
from shared.ids import JobId
from shared.jobs.spec import Job


class NewLists:
    """Of one submission. `stored` are the jobs, with their versions, once it has come to its end."""

    def __init__(self, inputs: InputResolvers) -> None:
        self.stored: Sequence[tuple[JobId, int]] = ()
        self.made: list[FrozenSource] = []
        self._inputs = inputs

    def __repr__(self) -> str:
        return f"<NewLists, {len(self.made)} made>"

    async def freeze(self, job: Job) -> FrozenInputs:
        """What the inputs of a job are now, as it is submitted."""
        found = await self._inputs.freeze(job)
        self.made += (each for each in found if each.listing)
        return found

    def unnamed(self, model: Model) -> list[FrozenSource]:
        """Those that were made in vain, as another try was quicker. None while it is not known what is stored."""
        named = set[str]()
        for job, version in self.stored:
            entry = model.jobs.get(job)
            if entry is None or version not in entry.specs:
                return []
            named.update(each.listing for each in entry.inputs(version))
        return [each for each in self.made if each.listing not in named]


@asynccontextmanager
async def new_lists(model: Model, inputs: InputResolvers) -> AsyncIterator[NewLists]:
    """Around a submission. What may have been stored keeps its lists, and so does what is broken off."""
    lists = NewLists(inputs)
    try:
        yield lists
    except MessagingUnavailable:
        raise
    except TarponError:
        await inputs.remove(lists.made)
        raise
    await inputs.remove(lists.unnamed(model))
