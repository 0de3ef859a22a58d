"""What an earlier process of a node has left in its folder beside the journal, and is removed at the start.

The folders of executions that the journal does not know are removed by the journal itself, which reads it first.
"""

import logging
from pathlib import Path

from compute.workspace import remove_tree
from shared.ids import is_safe_id

_log = logging.getLogger(__name__)

EXECUTIONS, DAMAGED = "executions", "damaged"
DRAFTS = "*.new"
"""Files that were being written, as compute/private_file.py names them."""
MOST_DAMAGED = 16
"""Of how many executions, the last ones, what could not be read is kept for a person to look at."""


def sweep(folder: Path) -> None:
    """Blocks. What cannot be removed is logged and left."""
    left = list(folder.glob(DRAFTS))
    if (executions := folder / EXECUTIONS).is_dir():
        left += [each for each in executions.iterdir() if not (is_safe_id(each.name) and each.is_dir())]
    if (damaged := folder / DAMAGED).is_dir():
        by_age = sorted(damaged.iterdir(), key=lambda each: each.lstat().st_mtime, reverse=True)
        left += by_age[MOST_DAMAGED:]
    for path in left:
        _log.info("%s was left behind and is removed.", path)
        try:
            if path.is_dir() and not path.is_symlink():
                remove_tree(path)
            else:
                path.unlink(missing_ok=True)
        except OSError as error:
            _log.warning("%s cannot be removed: %s", path, error)
