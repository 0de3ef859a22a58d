"""How a job is written as a job file."""

from typing import Any

import msgspec
import yaml

from shared.jobspec import Job


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as such."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def job_yaml(job: Job) -> str:
    """YAML that reads back as the same job, without what is left out anyway."""
    document = _given(msgspec.to_builtins(job))
    document["Tasks"] = [_given(task) for task in document.get("Tasks", ())]
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


def _given(fields: dict[str, Any]) -> dict[str, Any]:
    """Without the fields at their defaults. What is inside of a field stays: an empty argument counts."""
    return {name: value for name, value in fields.items() if value or value is False}
