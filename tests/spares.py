"""Folders of executions that a node keeps for the next ones."""

from pathlib import Path

from compute.disk.spare_folders import PREFIX


def is_empty_spare(folder: Path) -> bool:
    """Whether it waits for another execution, and holds nothing of the last one."""
    if not folder.name.startswith(PREFIX):
        return False
    return sum(each.stat().st_size for each in folder.rglob("*") if not each.is_dir()) == 0
