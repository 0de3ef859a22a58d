"""What a node keeps for the next executions: folders, and the hosts file of containers."""

from pathlib import Path

from compute.disk.spare_folders import PREFIX
from compute.engines.docker.spec import HOSTS_NAME


def is_empty_spare(folder: Path) -> bool:
    """Whether it waits for another execution, and holds nothing of the last one."""
    if not folder.name.startswith(PREFIX):
        return folder.name == HOSTS_NAME
    return sum(each.stat().st_size for each in folder.rglob("*") if not each.is_dir()) == 0
