"""Secrets that a task was given, opened with the node's own key and in memory alone.

Who resumes a task that an earlier process of the node has started does not know them: the task has its environment and
its files already. What it wrote is then not told at all, as nobody knows what to mask in it.
"""

from collections.abc import Iterator, Mapping

import nkeys
from msgspec.structs import replace
from nacl.exceptions import CryptoError
from nacl.public import SealedBox
from nacl.signing import SigningKey

from compute.disk.secret_files import WrittenSecret
from compute.executions.masking import NOTHING, Masking
from shared.errors import Damaged
from shared.jobs.secrets import names_of, uses_secrets, variables
from shared.jobs.spec import Task
from shared.protocol.messages import Assignment, RunOutput, UnknownMessage, decode, secrets_given

_NO_VALUES: Mapping[str, bytes] = {}


class SecretsNotOpened(Damaged):
    """What the orchestrator gave for a task is not for this node, or not for this task."""


class GivenSecrets:
    """`values` by the names of the secrets. Without `are_known` they were given to an earlier process."""

    def __init__(self, values: Mapping[str, bytes] = _NO_VALUES, *, are_known: bool = True) -> None:
        self._values = values
        self._are_known = are_known
        self._masking = Masking(values.values()) if values else NOTHING

    def __repr__(self) -> str:
        return f"<GivenSecrets {', '.join(self._values)}>"

    def variables(self, env: Mapping[str, str]) -> dict[str, str]:
        """The variables that are secrets; none of a task that has its environment already."""
        if not self._are_known:
            return {}
        return {variable: self._values[name].decode() for variable, name in variables(env)}

    def files(self, task: Task) -> Iterator[WrittenSecret]:
        return (WrittenSecret(each.path, self._values[each.name]) for each in task.secrets)

    def masked(self, text: str) -> str:
        return self._masking.text(text)

    def told(self, output: RunOutput) -> RunOutput:
        """What may be told of what the task wrote."""
        if self._are_known:
            return self._masking.output(output)
        return replace(
            output,
            stdout="",
            stdout_truncated=output.stdout_truncated or bool(output.stdout),
            stderr="",
            stderr_truncated=output.stderr_truncated or bool(output.stderr),
        )


NO_SECRETS = GivenSecrets()
UNKNOWN_SECRETS = GivenSecrets(are_known=False)


class SecretsOpener:
    def __init__(self, nkey_seed: str) -> None:
        _, raw = nkeys.decode_seed(nkey_seed.encode("ascii"))
        self._key = SigningKey(bytes(raw)).to_curve25519_private_key()

    def __repr__(self) -> str:
        return "<SecretsOpener>"

    def opened(self, assignment: Assignment) -> GivenSecrets:
        """Raises SecretsNotOpened."""
        if not uses_secrets(assignment.task):
            return NO_SECRETS
        if not assignment.secrets:
            raise SecretsNotOpened("The orchestrator gave no secrets: it is of a version that knows none.")
        try:
            given = decode(secrets_given, SealedBox(self._key).decrypt(assignment.secrets))
        except (CryptoError, ValueError, UnknownMessage):
            raise SecretsNotOpened("The secrets are not sealed to this node's key.") from None
        if given.execution_id != assignment.execution_id or not given.values.keys() >= set(names_of(assignment.task)):
            raise SecretsNotOpened("The secrets are those of another task.")
        return GivenSecrets(given.values)


def secrets_of_resumed(task: Task) -> GivenSecrets:
    return UNKNOWN_SECRETS if uses_secrets(task) else NO_SECRETS
