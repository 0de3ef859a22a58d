"""Secrets are given for the node whose key is known, and refused for what is missing, before anything is sealed."""

import nkeys
import pytest
from nacl.utils import random

from compute.executions.given_secrets import SecretsOpener
from orchestrator.admission.secret_box import SecretBox, SecretUnreadable
from orchestrator.admission.task_secrets import NodeKeyUnknown, SecretNotText, SecretUnknown, TaskSecrets
from orchestrator.rules.records import BindingRecord, SecretRecord
from orchestrator.state.model import Model
from orchestrator.storage.store import Store
from shared.ids import ExecutionId, NodeId
from shared.protocol import subjects
from shared.settings.secret import Secret
from tests.builders import new_assignment, new_task
from tests.integration.fed_api import UnusedConnection

KEY, NODE, EXECUTION = Secret("a key"), NodeId("n-1"), ExecutionId("e-1")
TASK = new_task(env={"DB": "secret:db"})


class Desk:
    def __init__(self, *, key: Secret = KEY) -> None:
        self.model = Model(max_attempts=1)
        self.secrets = TaskSecrets(self.model, Store(UnusedConnection([]), self.model), key)
        self._revision = 0

    def put(self, name: str, *, namespace: str = "a", is_text: bool = True) -> None:
        box = SecretBox(KEY)
        record = SecretRecord(
            namespace=namespace,
            name=name,
            sealed=box.close(namespace, name, b"correct horse"),
            key_id=box.key_id,
            size_bytes=13,
            is_text=is_text,
            create_time=1,
            modify_time=1,
        )
        self._revision += 1
        self.model.apply(record.key, record, self._revision)

    def join(self) -> str:
        seed = str(nkeys.encode_seed(random(32), nkeys.PREFIX_BYTE_USER), "ascii")
        public = str(nkeys.from_seed(bytearray(seed, "ascii")).public_key, "ascii")
        self._revision += 1
        self.model.apply(subjects.binding_record(NODE), BindingRecord(public_key=public), self._revision)
        return seed

    def sealed(self, namespace: str = "a") -> bytes:
        return self.secrets.sealed(namespace, TASK, EXECUTION, NODE)


def test_the_node_opens_what_it_is_given_and_nothing_of_it_is_in_the_clear() -> None:
    desk = Desk()
    desk.put("db")
    sealed = (seed := desk.join()) and desk.sealed()
    assert b"correct horse" not in sealed
    assignment = new_assignment(EXECUTION, task=TASK, secrets=sealed)
    assert SecretsOpener(seed).opened(assignment).variables(TASK.env) == {"DB": "correct horse"}


def test_a_task_that_asks_for_none_is_given_none() -> None:
    assert Desk().secrets.sealed("a", new_task(), EXECUTION, NODE) == b""


def test_a_node_whose_key_is_not_known_yet_is_not_the_end_of_the_task() -> None:
    desk = Desk()
    desk.put("db")
    with pytest.raises(NodeKeyUnknown) as waits:
        desk.sealed()
    assert waits.value.retryable


def test_the_secret_of_another_namespace_is_not_given_nor_named() -> None:
    desk = Desk()
    desk.put("db", namespace="b")
    desk.join()
    with pytest.raises(SecretUnknown) as refused:
        desk.sealed()
    assert "Did you mean" not in refused.value.hint


def test_what_was_stored_under_another_key_is_told_apart_from_what_is_not_there() -> None:
    desk = Desk(key=Secret("another key"))
    desk.put("db")
    desk.join()
    with pytest.raises(SecretUnreadable):
        desk.sealed()


def test_what_is_no_text_is_no_variable() -> None:
    desk = Desk()
    desk.put("db", is_text=False)
    desk.join()
    with pytest.raises(SecretNotText):
        desk.sealed()
