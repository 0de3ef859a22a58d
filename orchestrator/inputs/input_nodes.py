"""Nodes for inputs: which ones say that they keep what a part of a job reads, those that keep the most of it first."""

from collections import Counter
from collections.abc import Iterator, Sequence

from orchestrator.inputs.contents import content_of, content_of_list, content_of_listed
from orchestrator.inputs.listings import Listing
from orchestrator.inputs.shares import ArchivesOf, SourceShare
from orchestrator.nodes.input_keepers import InputKeepers
from orchestrator.rules.frozen_inputs import EVERY_PART, FrozenSource
from orchestrator.rules.placement import Wanted
from orchestrator.state.model import Model
from shared.errors import GrantRefused
from shared.ids import NodeId
from shared.jobs.spec import SpecConfig
from shared.protocol.nodes.inputs import LARGE_BYTES, held_name, kept_name, kept_view_name

MOST_LOOKED_AT = 8


class InputNodes:
    """Does not wait for anything: of a list that is in the bucket it is known what it is called, not what it says."""

    def __init__(self, model: Model, keepers: InputKeepers, archives_of: ArchivesOf) -> None:
        self._model = model
        self.keepers = keepers
        self._archives_of = archives_of

    def __repr__(self) -> str:
        return f"<InputNodes by {self.keepers!r}>"

    def of(self, wanted: Wanted, part: int) -> Sequence[NodeId]:
        sources = wanted.job.task.input_sources
        if not sources or not self.keepers.are_any:
            return ()
        entry, kept = self._model.jobs.get(wanted.job_id), Counter[NodeId]()
        inputs = entry.inputs(wanted.version) if entry is not None else ()
        for source, frozen in zip(sources, inputs, strict=False):  # none where nothing had to be looked up
            kept += self._keepers_of(source.source, frozen, part)
        return [node for node, _ in kept.most_common(MOST_LOOKED_AT)]

    def _keepers_of(self, source: SpecConfig, frozen: FrozenSource, part: int) -> Counter[NodeId]:
        """And how many bytes of it each has at least."""
        found = Counter[NodeId]()
        for name, size_bytes in self._names(source, frozen, part):
            for node in self.keepers.of(held_name(name)):
                found[node] = max(found[node], size_bytes, 1)
        return found

    def _names(self, source: SpecConfig, frozen: FrozenSource, part: int) -> Iterator[tuple[str, int]]:
        """By what nodes may keep it, as a view or as a large file, and how much that is."""
        if frozen.listing and frozen.location is not None:
            for each in (part, EVERY_PART):
                yield kept_view_name(content_of_listed(frozen.location, frozen.listing, each)), frozen.size_bytes
            return
        share = self._share(source, frozen, part)
        if content := content_of_list(share):
            yield kept_view_name(content), share.size_bytes
        for read in share.read(0, len(share.objects)):
            if read.object.size >= LARGE_BYTES and (content := content_of(read)):
                yield kept_name(content), read.object.size

    def _share(self, source: SpecConfig, frozen: FrozenSource, part: int) -> SourceShare:
        if not frozen.job:
            share = Listing(frozen.objects).share_of(part)
            return SourceShare(0, share.objects, frozen.location, share.size_bytes)
        try:
            archives = self._archives_of(source, frozen)
        except GrantRefused:  # it has gone meanwhile
            archives = ()
        return SourceShare(0, archives, None, sum(each.object.size for each in archives))
