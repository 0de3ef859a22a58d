"""Users over NATS: who shows a key hears and asks about its namespaces alone, and is cut off by a revocation."""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import nats.errors
import pytest
from nats.aio.client import Client

import tarpon
from shared.protocol.pasted import ApiKey, JoinToken, read
from shared.runtime.local_socket import local_url
from tests.integration.played_node import played_node
from tests.integration.running import Running
from tests.waiting import eventually

NOOP = {"Type": "batch", "Tasks": [{"Name": "main", "Engine": {"Type": "noop"}}]}
EVENTS = "tarpon.v1.events"


def operator(running: Running) -> tarpon.Client:
    return tarpon.Client(local_url(running.config.data_dir))


async def key_for(running: Running, name: str, *capabilities: str, namespaces: tuple[str, ...] = ()) -> str:
    async with operator(running) as client:
        return (await client.create_user(name, capabilities, namespaces=namespaces)).key


class Program:
    """What it hears of its connection, beside its client."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.client = Client()
        self.refused: list[str] = []
        self.closed = asyncio.Event()

    async def on_error(self, error: Exception) -> None:
        self.refused.append(str(error))

    async def on_closed(self) -> None:
        self.closed.set()

    async def ask(self, what: str, body: Any = None, *, principal: str = "") -> Any:
        subject = f"tarpon.v1.api.{principal or f'@{self.name}'}.{what}"
        answer = await self.client.request(subject, json.dumps(body or {}).encode(), timeout=5)
        return json.loads(answer.data)


@asynccontextmanager
async def program(running: Running, name: str, password: str) -> AsyncIterator[Program]:
    made = Program(name)
    try:
        await made.client.connect(
            running.server,
            user=name,
            password=password,
            inbox_prefix=f"_INBOX.@{name}",
            allow_reconnect=False,
            error_cb=made.on_error,
            closed_cb=made.on_closed,
        )
        yield made
    finally:
        await made.client.close()


async def test_a_key_is_a_password_whole_or_as_what_is_sent_of_it(running: Running) -> None:
    key = await key_for(running, "maria", "read:job", "write:job")
    for password in (key, read(key, ApiKey).credential):
        async with program(running, "maria", password) as maria:
            job = (await maria.ask("jobs.submit", {"Job": NOOP}))["JobID"]
            assert (await maria.ask("jobs.get", {"JobID": job}))["Job"]["ID"] == job


async def test_what_is_no_key_of_this_user_does_not_let_it_in(running: Running) -> None:
    key = await key_for(running, "maria", "*")
    async with operator(running) as client:
        await client.revoke_user("maria")
        other = (await client.create_user("other", ["*"])).key
    for name, password in (("maria", key), ("maria", other), ("other", f"{other}x"), ("other", "")):
        with pytest.raises((nats.errors.Error, OSError)):
            async with program(running, name, password):
                pass


async def test_a_key_for_one_namespace_asks_about_that_alone(running: Running) -> None:
    async with operator(running) as client:
        foreign = (await client.submit({**NOOP, "Name": "foreign", "Namespace": "b"})).job_id
        own = (await client.submit({**NOOP, "Namespace": "a"})).job_id
    key = await key_for(running, "of-a", "read:job", "write:job", namespaces=("a",))
    async with program(running, "of-a", key) as asking:
        for namespace in ("", "*", "a", "b"):
            listed = await asking.ask("jobs.list", {"Namespace": namespace})
            assert [job["ID"] for job in listed["Items"]] == ([] if namespace == "b" else [own])
        for what in ("jobs.get", "jobs.stop", "jobs.delete", "jobs.results", "jobs.history", "jobs.waits"):
            for text, absent in ((foreign, "j-0"), (foreign[:12], "j-1"), ("foreign", "absent")):
                told = await asking.ask(what, {"JobID": text, "Namespace": "b"})
                nothing = await asking.ask(what, {"JobID": absent, "Namespace": "b"})
                assert told["Code"] == "JobNotFound"
                assert told["Message"].replace(text, absent) == nothing["Message"]
        assert (await asking.ask("jobs.submit", {"Job": {**NOOP, "Namespace": "b"}}))["Code"] == "NamespaceForbidden"
        submitted = (await asking.ask("jobs.submit", {"Job": NOOP}))["JobID"]
        assert (await asking.ask("jobs.get", {"JobID": submitted}))["Job"]["Namespace"] == "a"


async def test_a_key_without_the_capability_is_told_which_one_it_takes(running: Running) -> None:
    key = await key_for(running, "reader", "read:job")
    async with program(running, "reader", key) as reader:
        assert (await reader.ask("jobs.list"))["Items"] == []
        for what, needs in (("jobs.submit", "write:job"), ("jobs.stop", "write:job"), ("nodes.list", "read:node")):
            told = await reader.ask(what)
            assert (told["Status"], told["Code"]) == (403, "CapabilityMissing")
            assert needs in told["Message"]


async def test_a_node_of_other_namespaces_is_not_listed(running: Running) -> None:
    async with operator(running) as client:
        token = read((await client.create_join_token(namespaces=["b"])).text, JoinToken).credential
    async with played_node("foreign", server=running.server, secret=token) as foreign, running.node("shared") as shared:
        await foreign.register()
        await shared.register()
        for name, namespaces, seen in (("of-a", ("a",), ["shared"]), ("of-b", ("b",), ["foreign", "shared"])):
            key = await key_for(running, name, "read:node", namespaces=namespaces)
            async with program(running, name, key) as asking:
                listed = await asking.ask("nodes.list")
                assert [node["Info"]["NodeID"] for node in listed["Nodes"]] == seen


async def test_events_of_other_namespaces_are_not_heard(running: Running) -> None:
    key = await key_for(running, "of-a", "read:job", namespaces=("a",))
    async with program(running, "of-a", key) as hearing, operator(running) as client:
        heard: list[str] = []

        async def hear(message: Any) -> None:
            heard.append(message.subject)

        await hearing.client.subscribe(f"{EVENTS}.a.>", cb=hear)
        await hearing.client.flush()
        for subject in (f"{EVENTS}.b.>", f"{EVENTS}.>", f"{EVENTS}.*.>", "tarpon.v1.>", "_INBOX.>", ">"):
            await hearing.client.subscribe(subject, cb=hear)
        await eventually(lambda: len(hearing.refused) >= 6, what="all of them are refused")
        foreign = (await client.submit({**NOOP, "Namespace": "b"})).job_id
        own = (await client.submit({**NOOP, "Namespace": "a"})).job_id
        await eventually(lambda: any(own in each for each in heard), what="its own events come")
        assert not [each for each in heard if foreign in each]


async def test_who_may_not_read_jobs_hears_no_events(running: Running) -> None:
    key = await key_for(running, "writer", "write:job")
    async with program(running, "writer", key) as writer:
        await writer.client.subscribe(f"{EVENTS}.default.>")
        await eventually(lambda: writer.refused, what="it is refused")


async def test_nobody_asks_as_another(running: Running) -> None:
    await key_for(running, "admin", "*")
    key = await key_for(running, "maria", "read:job")
    async with program(running, "maria", key) as maria:
        for principal in ("@admin", "admin", "maria"):
            with pytest.raises((nats.errors.NoRespondersError, TimeoutError)):
                async with asyncio.timeout(1):
                    await maria.ask("jobs.list", principal=principal)
        await eventually(lambda: len(maria.refused) >= 3, what="all of them are refused")


async def test_a_revoked_program_is_cut_off_and_not_let_in_again(running: Running) -> None:
    key = await key_for(running, "maria", "read:job")
    other = await key_for(running, "other", "read:job")
    async with program(running, "maria", key) as maria, program(running, "other", other) as staying:
        await maria.ask("jobs.list")
        async with operator(running) as client:
            await client.revoke_user("maria")
        began = time.monotonic()
        async with asyncio.timeout(20):
            await maria.closed.wait()
        assert time.monotonic() - began < 15  # two seconds are aimed at; a loaded machine takes longer
        assert (await staying.ask("jobs.list"))["Items"] == []
        with pytest.raises((nats.errors.Error, OSError)):
            async with program(running, "maria", key):
                pass


async def test_a_computed_password_goes_on_and_is_warned_of(running: Running, caplog: pytest.LogCaptureFixture) -> None:
    from orchestrator.admission.secret_files import integration_password
    from shared.settings.secret import Secret

    secret = (running.config.data_dir / "orchestrator" / "secrets" / "integration.secret").read_text().strip()
    password = integration_password(Secret(secret), "billing").reveal()
    client = Client()
    with caplog.at_level(logging.WARNING):
        await client.connect(running.server, user="billing", password=password, inbox_prefix="_INBOX.billing")
        answer = await client.request("tarpon.v1.api.billing.jobs.list", b"{}", timeout=5)
        await client.close()
    assert json.loads(answer.data)["Items"] == []
    assert "Integration billing shows a password that follows from the integration secret" in caplog.text
