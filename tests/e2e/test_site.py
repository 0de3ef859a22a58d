"""The site is built from the documents with warnings as errors, links and anchors checked, and without a network."""

import os
import subprocess
import sys
from pathlib import Path

from tests.documents import DOCUMENTS, ROOT


def _build(source: Path, target: Path) -> subprocess.CompletedProcess[str]:
    """As `make docs` does; what would reach a network is led to a port where nothing listens."""
    nowhere = "http://127.0.0.1:9"
    return subprocess.run(
        [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-c", "docs", ".", str(target)],
        capture_output=True,
        text=True,
        check=False,
        cwd=source,
        env={"PATH": os.environ["PATH"], "http_proxy": nowhere, "https_proxy": nowhere},
    )


def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    done = _build(ROOT, tmp_path / "site")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    pages = [tmp_path / "site" / Path(document).with_suffix(".html") for document in DOCUMENTS]
    assert [page for page in [*pages, tmp_path / "site" / "index.html"] if not page.exists()] == []


def test_a_dead_anchor_stops_the_build(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "docs").mkdir(parents=True)
    (source / "docs" / "conf.py").write_text((ROOT / "docs" / "conf.py").read_text(encoding="utf-8"))
    (source / "docs" / "templates").symlink_to(ROOT / "docs" / "templates")
    (source / "README.md").write_text("# Other\n")
    (source / "docs" / "index.md").write_text("# Title\n\n[dead](#nowhere)\n\n```{toctree}\n../README\n```\n")
    done = _build(source, tmp_path / "site")
    assert done.returncode != 0
    assert "nowhere" in done.stderr
