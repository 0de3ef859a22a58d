"""What is done when a package is built: the commit of the checkout is written into it."""

import runpy
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

COMMIT = "shared/runtime/commit.txt"


class CommitHook(BuildHookInterface):  # type: ignore[type-arg]
    """A checkout tells its commit, and the unpacked source of a release has it as a file already."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        root = Path(self.root)
        commit = runpy.run_path(str(root / "shared" / "runtime" / "commit.py"))["of_checkout"](root)
        if version == "editable" or not commit:
            return
        self._folder = tempfile.TemporaryDirectory()
        path = Path(self._folder.name) / "commit.txt"
        path.write_text(f"{commit}\n", encoding="ascii")
        build_data["force_include"][str(path)] = COMMIT

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
        if hasattr(self, "_folder"):
            self._folder.cleanup()
