"""Secrets of tasks: stored for a namespace, listed by their names, deleted. No value is ever told but to a node.

A value is opened when an execution is offered, and sealed to the node that is to run it.
"""

import logging
from collections.abc import Iterable

import msgspec

from orchestrator.admission.secret_box import UNREADABLE_HINT, SecretBox, SecretUnreadable, sealed_to
from orchestrator.rules.near_names import near_names
from orchestrator.rules.records import SecretRecord
from orchestrator.state.model import Model
from orchestrator.storage import changes
from orchestrator.storage.store import Store
from orchestrator.storage.wall_clock import now_ns
from shared.errors import Conflict, InvalidId, InvalidInput, NotFound, Unavailable
from shared.ids import ExecutionId, NodeId, is_safe_id
from shared.jobs.secrets import (
    MAX_SECRET_BYTES,
    MAX_TASK_SECRET_BYTES,
    can_be_variable,
    names_of,
    uses_secrets,
    variables,
)
from shared.jobs.spec import Task
from shared.protocol.messages import SecretsGiven, encode_secrets
from shared.settings.secret import Secret

_log = logging.getLogger(__name__)

MOST_IN_NAMESPACE = 256
MOST_BYTES = 64 << 20
"""Of all secrets that are stored: each orchestrator has them in memory, sealed."""


class SecretNotFound(NotFound):
    def __init__(self, namespace: str, name: str, near: Iterable[str] = ()) -> None:
        meant = "".join(f"Did you mean {each!r}? " for each in near)
        super().__init__(
            f"Namespace {namespace} has no secret {name[:80]!r}.",
            hint=f"{meant}`tarpon secret list --namespace {namespace}` shows those that there are.",
        )


class SecretUnknown(InvalidInput):
    """A job asks for what its namespace has not; `near` are names that may have been meant."""

    def __init__(self, namespace: str, name: str, near: Iterable[str] = ()) -> None:
        meant = "".join(f"Did you mean {each!r}? " for each in near)
        super().__init__(
            f"The task asks for the secret {name!r}, which namespace {namespace} has not.",
            hint=f"{meant}`tarpon secret put {name} --namespace {namespace}` stores it,"
            " and `tarpon secret list` shows which there are.",
        )


class SecretNotText(InvalidInput):
    def __init__(self, name: str, variable: str) -> None:
        super().__init__(
            f"The secret {name!r} cannot be the variable {variable[:80]}: it is no UTF-8 text, or has a NUL character.",
            hint="Give it to the task as a file: `Secrets: [{Name: ..., Path: ...}]`.",
        )


class TaskSecretsTooLarge(InvalidInput):
    def __init__(self, size_bytes: int) -> None:
        super().__init__(
            f"The task's secrets have {size_bytes:,} bytes together; at most {MAX_TASK_SECRET_BYTES:,} are possible.",
            hint="Keep what is large in the image or in a bucket, encrypted, and only its key as a secret.",
        )


class NodeKeyUnknown(Unavailable):
    """This orchestrator has not heard yet of the key with which another one has let the node in."""

    def __init__(self, node: NodeId) -> None:
        super().__init__(
            f"The key of node {node}, to which secrets are sealed, is not known here yet.",
            hint="It comes by itself, in a moment.",
        )


class SecretTooLarge(InvalidInput):
    def __init__(self, size_bytes: int) -> None:
        super().__init__(
            f"The secret has {size_bytes:,} bytes; at most {MAX_SECRET_BYTES:,} are possible.",
            hint="Keep what is larger in the image or in a bucket, encrypted, and only its key as a secret.",
        )


class SecretEmpty(InvalidInput):
    def __init__(self) -> None:
        super().__init__("The secret is empty.", hint="Give its value on stdin, or in a file with --from-file.")


class TooManySecrets(Conflict):
    def __init__(self, what: str) -> None:
        super().__init__(f"No further secret can be stored: {what}.", hint="Delete those that are not needed any more.")


class StoredSecret(msgspec.Struct, frozen=True):
    """What may be told of one: `is_usable` is whether this orchestrator can open it."""

    record: SecretRecord
    is_usable: bool


class TaskSecrets:
    def __init__(self, model: Model, store: Store, key: Secret) -> None:
        self._model = model
        self._store = store
        self._box = SecretBox(key)

    def __repr__(self) -> str:
        return f"<TaskSecrets {self._model.secrets!r}>"

    def of(self, namespace: str) -> list[StoredSecret]:
        """In the order of their names; raises NotReady."""
        self._store.check_ready()
        records = sorted(self._model.secrets.of(namespace).values(), key=lambda each: each.name)
        return [self._told(record) for record in records]

    def _told(self, record: SecretRecord) -> StoredSecret:
        return StoredSecret(record, record.key_id == self._box.key_id)

    async def put(self, namespace: str, name: str, value: bytes) -> StoredSecret:
        """Store a secret, or another value of it, which executions have that are offered from now on.

        Raises InvalidId, SecretEmpty, SecretTooLarge, TooManySecrets.
        """
        self._store.check_ready()
        _check(namespace, name)
        if not value:
            raise SecretEmpty
        if len(value) > MAX_SECRET_BYTES:
            raise SecretTooLarge(len(value))

        async def attempt() -> SecretRecord:
            known = self._model.secrets.of(namespace).get(name)
            record = self._record(namespace, name, value, known)
            if known is not None:
                await self._store.update(record.key, record)
            else:
                self._check_room(namespace, len(record.sealed))
                await self._store.create_again(record.key, record)
            return record

        return self._told(await changes.insist(self._store, attempt))

    def _record(self, namespace: str, name: str, value: bytes, known: SecretRecord | None) -> SecretRecord:
        now = now_ns()
        return SecretRecord(
            namespace=namespace,
            name=name,
            sealed=self._box.close(namespace, name, value),
            key_id=self._box.key_id,
            size_bytes=len(value),
            is_text=can_be_variable(value),
            create_time=known.create_time if known is not None else now,
            modify_time=now,
        )

    def _check_room(self, namespace: str, size_bytes: int) -> None:
        if len(self._model.secrets.of(namespace)) >= MOST_IN_NAMESPACE:
            raise TooManySecrets(f"namespace {namespace} has {MOST_IN_NAMESPACE}")
        if self._model.secrets.size_bytes + size_bytes > MOST_BYTES:
            raise TooManySecrets(f"those of all namespaces have {MOST_BYTES:,} bytes together")

    async def delete(self, namespace: str, name: str) -> None:
        """Raises InvalidId, SecretNotFound. Executions that have it keep it."""
        self._store.check_ready()
        _check(namespace, name)

        async def attempt() -> None:
            known = self._model.secrets.of(namespace)
            if name not in known:
                raise SecretNotFound(namespace, name, near_names(name, known.__contains__, known))
            await self._store.delete(known[name].key)

        await changes.insist(self._store, attempt)

    def warn_of_unreadable(self) -> None:
        """Of those that are stored under another key than this orchestrator has."""
        count = sum(record.key_id != self._box.key_id for record in self._model.secrets)
        if count:
            told = "%d secrets of tasks were stored under another key than this orchestrator's: no task gets them. %s"
            _log.warning(told, count, UNREADABLE_HINT)

    async def check(self, namespace: str, task: Task) -> None:
        """Raise as `values_of` would now, also where the secret has just been put at another orchestrator."""
        if not uses_secrets(task):
            return
        try:
            self._records(namespace, task)
        except SecretUnknown:
            await self._store.catch_up()
            self._records(namespace, task)

    def sealed(self, namespace: str, task: Task, execution: ExecutionId, node: NodeId) -> bytes:
        """What the task asks for, for this node alone to open; empty where it asks for none.

        Raises SecretUnknown, SecretUnreadable, SecretNotText, TaskSecretsTooLarge, NodeKeyUnknown, and BadSignature
        where the node's key is none to which anything can be sealed.
        """
        if not uses_secrets(task):
            return b""
        binding = self._model.bindings.get(node)
        if binding is None:
            raise NodeKeyUnknown(node)
        values = {record.name: self._open(record) for record in self._records(namespace, task)}
        given = SecretsGiven(execution_id=execution, values=values)
        return sealed_to(binding.public_key, encode_secrets(given))

    def _records(self, namespace: str, task: Task) -> list[SecretRecord]:
        known = self._model.secrets.of(namespace)
        records: list[SecretRecord] = []
        for name in names_of(task):
            if name not in known:
                raise SecretUnknown(namespace, name, near_names(name, known.__contains__, known))
            if known[name].key_id != self._box.key_id:
                raise SecretUnreadable(namespace, name)
            records.append(known[name])
        for variable, name in variables(task.env):
            if not known[name].is_text:
                raise SecretNotText(name, variable)
        if (size := sum(record.size_bytes for record in records)) > MAX_TASK_SECRET_BYTES:
            raise TaskSecretsTooLarge(size)
        return records

    def _open(self, record: SecretRecord) -> bytes:
        return self._box.open(record.namespace, record.name, record.sealed)


def _check(namespace: str, name: str) -> None:
    for kind, text in (("namespace", namespace), ("secret", name)):
        if not is_safe_id(text):
            raise InvalidId(kind, text)
