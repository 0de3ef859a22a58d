"""The environment of a task: nothing of the node's own but what its operator allows."""

import os
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from shared.errors import Refused
from shared.protocol.messages import Assignment

FROM_NODE = "env:"
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DEFAULT_LANG = "C.UTF-8"
NODE_ID = "TARPON_NODE_ID"
"""On which node the task is. The reference has no such variable."""
_PREFIXES = ("BACALHAU_", "TARPON_")
_NEVER = ("AWS_", *_PREFIXES)
"""Credentials and the node's own settings: no allow-list opens these."""
_NO_SECRETS: Mapping[str, str] = {}


class VariableRefused(Refused):
    """A job asks for a variable of the node that it may not have, or that the node has not got."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(
            f"The task asks for this node's environment variable {name[:80]!r}, which {why}.",
            hint="The node's operator allows variables with Compute.Env.AllowList.",
        )


class EnvironmentPolicy:
    """What a task may have of the environment `node` of this process."""

    def __init__(self, node: Mapping[str, str], allow_list: Sequence[str], *, node_id: str = "") -> None:
        self._node = node
        self._node_id = node_id
        self._allow_list = tuple(allow_list)

    def __repr__(self) -> str:
        return f"<EnvironmentPolicy {self._allow_list}>"

    def resolve(self, env: Mapping[str, str]) -> dict[str, str]:
        """`env` with each `env:NAME` replaced by the node's value. Raises VariableRefused."""
        return {name: self._value(value) for name, value in env.items()}

    def for_task(self, assignment: Assignment, secrets: Mapping[str, str] = _NO_SECRETS) -> dict[str, str]:
        """The job's variables, `secrets` among them, and the system's own over them, so that no job can set those."""
        return {**self.resolve(assignment.task.env), **secrets, **about(assignment), NODE_ID: self._node_id}

    def _value(self, value: str) -> str:
        if not value.startswith(FROM_NODE):
            return value
        name = value.removeprefix(FROM_NODE)
        if name.startswith(_NEVER) or not any(fnmatchcase(name, pattern) for pattern in self._allow_list):
            raise VariableRefused(name, "no task may have here")
        if name not in self._node:
            raise VariableRefused(name, "is not set here")
        return self._node[name]


def basics(node: Mapping[str, str], workspace: Path) -> dict[str, str]:
    """What a command on the host needs to work at all."""
    return {
        "PATH": node.get("PATH", DEFAULT_PATH),
        "LANG": node.get("LANG", DEFAULT_LANG),
        "HOME": os.fspath(workspace),
    }


def about(assignment: Assignment) -> dict[str, str]:
    """What a task can learn about itself, under the names of the reference and under our own."""
    values = {
        "EXECUTION_ID": assignment.execution_id,
        "JOB_ID": assignment.job_id,
        "JOB_TYPE": assignment.job_type,
        "PARTITION_INDEX": str(assignment.partition_index),
        "PARTITION_COUNT": str(assignment.partition_count),
    }
    return {prefix + name: value for prefix in _PREFIXES for name, value in values.items()}
