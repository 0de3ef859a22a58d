"""Names under which a browser saves results: `NAME.tar.gz`, out of the job's name, whatever that holds."""

import re

from orchestrator.rules.records import ExecutionRecord
from orchestrator.state.job_entry import JobEntry

ARCHIVE, INDEX, MANIFEST, PROVENANCE = ".tar.gz", ".index.json.gz", ".manifest.json.gz", ".provenance.json"
RECORD = ".result.json"
MAX_STEM_BYTES = 120
"""File systems take 255 for a name, and each byte that is no ASCII has five characters in the URL."""

_NO_FILE_HAS = re.compile(r"[\\/:*?\"<>|%]")
"""Separators, what Windows does not take, and what some browsers decode."""


def saved_name(entry: JobEntry, record: ExecutionRecord) -> str:
    """Without its ending. Results of several parts have its number, or its node, behind the name."""
    spec = entry.specs.get(record.job_version)
    stem = _stem(spec.name if spec else "") or record.job_id
    if entry.targets(record.job_version):
        return f"{stem}-{record.node_id}"
    return f"{stem}-{record.partition:04}" if spec and (spec.count or 1) > 1 else stem


def _stem(text: str) -> str:
    """The text as a name for files: no hidden one, none that begins like an option, none that steers a terminal."""
    shown = "".join(each if each.isprintable() else "_" for each in text)
    cut = _NO_FILE_HAS.sub("_", shown).encode()[:MAX_STEM_BYTES].decode(errors="ignore").strip(" .")
    return f"_{cut[1:]}" if cut.startswith("-") else cut
