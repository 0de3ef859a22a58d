"""Shared lists: which inputs of an execution are worth a view that the node keeps for others."""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from compute.inputs.objects.given import GivenInputs
from compute.inputs.places import InputPlace
from shared.protocol.nodes.inputs import MAX_FILES_AT_ONCE, InputList, kept_view_name

SHARED_FROM = 16
"""Fewer files are linked anew in less time than it takes to look after what is kept. Archives are always shared."""


class SharedList(NamedTuple):
    """An input of a task, by its number, and the name of its view in the node's cache."""

    number: int
    view: str
    files: int
    size_bytes: int


def shared_lists(given: GivenInputs, places: Mapping[int, InputPlace]) -> list[SharedList]:
    """Those that containers mount, and of which the orchestrator says how they are known to be the same."""
    return [
        SharedList(each.source, kept_view_name(each.content), each.count, each.size)
        for each in (given.lists if _is_whole(given) else ())
        if each.content and _is_worth_it(each) and each.source in places and places[each.source].is_mounted
    ]


def _is_whole(given: GivenInputs) -> bool:
    counts = sum(each.count for each in given.lists), sum(each.size for each in given.lists)
    is_in_order = len({each.source for each in given.lists}) == len(given.lists)
    return is_in_order and counts == (given.total, given.total_bytes)


def _is_worth_it(each: InputList) -> bool:
    return each.count >= SHARED_FROM or (each.archive and each.count > 0)


def batches_with(given: GivenInputs, numbers: Collection[int]) -> Sequence[int]:
    """At which files the batches begin in which there are files of these inputs."""
    if not _is_whole(given):
        return range(0, max(1, given.total), MAX_FILES_AT_ONCE)
    found, begin = dict[int, None](), 0
    for each in given.lists:
        end = begin + each.count
        if each.source in numbers and each.count:
            found |= dict.fromkeys(range(begin - begin % MAX_FILES_AT_ONCE, end, MAX_FILES_AT_ONCE))
        begin = end
    return list(found)
