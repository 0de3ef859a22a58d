"""How deploy/job.schema.json is made: `python -m tests.schema_file` writes it (no tests in here)."""

from pathlib import Path

from tarpon.cli.console.output import json_text
from tarpon.cli.job_files.schema import job_schema

FILE = Path(__file__).resolve().parents[1] / "deploy" / "job.schema.json"


def content() -> str:
    return json_text(job_schema(), indent=2) + "\n"


if __name__ == "__main__":
    FILE.write_text(content(), encoding="utf-8")
