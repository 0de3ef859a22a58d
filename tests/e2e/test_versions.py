"""An earlier version and this one side by side: on what is stored, on the wire, in journals, and back again.

`make matrix PART=versions` does more of this, with more versions.
"""

from pathlib import Path

from tests.e2e.stack import Stack
from tests.e2e.versions import Upgrade, there_and_back
from tests.earlier_version import earlier_python


def test_versions_work_side_by_side_upgraded_one_by_one_and_back_again(stack: Stack, tmp_path: Path) -> None:
    there_and_back(Upgrade(stack, str(earlier_python()), tmp_path))
