"""Leftovers of an earlier process of a node in its folder beside the journal, removed at the start.

The folders of executions that the journal does not know are removed by the journal itself, which reads it first.
"""

import logging
import os
import re
from collections.abc import Collection
from pathlib import Path, PurePath

from compute.disk.mounts import mounts_in
from compute.disk.removal import remove_tree
from shared.ids import ExecutionId, is_safe_id

_log = logging.getLogger(__name__)

EXECUTIONS, DAMAGED = "executions", "damaged"
DRAFTS = "*.new"
"""Files that were being written, as compute/disk/private_file.py names them."""
MOST_DAMAGED = 16
"""Of how many executions, the last ones, what could not be read is kept for a person to look at."""
MOST_PROBLEMS = 10
_OWN_NAME = re.compile(r"(e-[0-9a-f-]{36}|\.spare-[0-9]+)\Z")


def is_the_nodes(path: Path) -> bool:
    """Whether what no execution needs was made by the node.

    An operator may have mounted another disk on the folder it is in, or have put a link there; so may a task, and then
    it leads to anything. What has the name of an execution in there is the node's all the same.
    """
    folder = path.parent
    if _OWN_NAME.match(path.name) or not (folder.is_symlink() or any(not each.below for each in mounts_in(folder))):
        return True
    _log.warning("%s is left, because its folder is a link or a mount: it may not be the node's.", path)
    return False


def problems(folder: Path, held: Collection[ExecutionId]) -> tuple[str, ...]:
    """What is left in the node's folder of executions that it does not hold, in sentences for its operator."""
    told = "{} was mounted by a task that has ended, and this node cannot detach it: unmount it and remove the folder."
    found = ((each, PurePath(each.below).parts) for each in mounts_in(folder))
    return tuple(
        told.format(os.fsdecode(each.point))
        for each, parts in found
        if len(parts) > 1 and parts[0] in {EXECUTIONS, DAMAGED} and parts[1] not in held
    )[:MOST_PROBLEMS]


def sweep(folder: Path) -> None:
    """Blocks. What cannot be removed is logged and left."""
    left: list[Path] = []
    if (executions := folder / EXECUTIONS).is_dir():
        left += [each for each in executions.iterdir() if not (is_safe_id(each.name) and each.is_dir())]
    if (damaged := folder / DAMAGED).is_dir():
        by_age = sorted(damaged.iterdir(), key=lambda each: each.lstat().st_mtime, reverse=True)
        left += by_age[MOST_DAMAGED:]
    for path in (*folder.glob(DRAFTS), *filter(is_the_nodes, left)):
        _log.info("%s was left behind and is removed.", path)
        try:
            remove_tree(path)
        except OSError as error:
            _log.warning("%s cannot be removed: %s", path, error)
