"""What was sealed for one node and one execution opens nowhere else."""

import msgspec
import nkeys
import pytest
from nacl.utils import random

from compute.executions.given_secrets import SecretsNotOpened, SecretsOpener
from compute.journal.entry import encode_entry, new_entry
from orchestrator.admission.secret_box import sealed_to
from shared.ids import ExecutionId
from shared.jobs.spec import SecretFile
from shared.protocol.messages import Assignment, SecretsGiven, encode_secrets
from tests.builders import new_assignment, new_task

VALUES = {"db": b"correct horse", "key": b"\xff\x00"}
TASK = new_task(env={"DB": "secret:db", "PLAIN": "x"}, secrets=(SecretFile(name="key", path="/run/key"),))


def new_seed() -> str:
    return str(nkeys.encode_seed(random(32), nkeys.PREFIX_BYTE_USER), "ascii")


def public_key(seed: str) -> str:
    return str(nkeys.from_seed(bytearray(seed, "ascii")).public_key, "ascii")


def given_to(seed: str, execution: str = "e-1", values: dict[str, bytes] = VALUES) -> Assignment:
    content = encode_secrets(SecretsGiven(execution_id=ExecutionId(execution), values=values))
    return new_assignment(task=TASK, secrets=sealed_to(public_key(seed), content))


def test_a_node_opens_what_was_sealed_to_its_own_key() -> None:
    seed = new_seed()
    opened = SecretsOpener(seed).opened(given_to(seed))
    assert opened.variables(TASK.env) == {"DB": "correct horse"}
    assert list(opened.files(TASK)) == [("/run/key", b"\xff\x00")]


def test_another_node_opens_nothing() -> None:
    with pytest.raises(SecretsNotOpened):
        SecretsOpener(new_seed()).opened(given_to(new_seed()))


def test_the_secrets_of_another_execution_are_refused() -> None:
    seed = new_seed()
    with pytest.raises(SecretsNotOpened):
        SecretsOpener(seed).opened(given_to(seed, "e-2"))


def test_secrets_that_lack_one_are_refused() -> None:
    seed = new_seed()
    with pytest.raises(SecretsNotOpened):
        SecretsOpener(seed).opened(given_to(seed, values={"db": b"x"}))


def test_an_orchestrator_that_knows_no_secrets_does_not_make_its_task_run_without() -> None:
    with pytest.raises(SecretsNotOpened, match="version"):
        SecretsOpener(new_seed()).opened(new_assignment(task=TASK))


def test_a_task_that_asks_for_none_needs_none() -> None:
    assert SecretsOpener(new_seed()).opened(new_assignment()).masked("text") == "text"


def test_the_journal_has_not_even_what_was_sealed() -> None:
    assignment = given_to(new_seed())
    entry = encode_entry(new_entry(assignment))
    assert msgspec.json.encode(assignment.secrets) not in entry
    assert b"secret:db" in entry
