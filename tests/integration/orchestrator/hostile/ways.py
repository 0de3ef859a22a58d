"""Ways to attack: what most attempts do, with the words of the stage filled in (no tests)."""

import base64
import json
import re
from collections.abc import Callable
from typing import Any

import nats.errors
from nats.aio.client import Client

from shared.messaging.client import taken_in
from shared.protocol import subjects
from tests.integration.orchestrator.hostile.attempts import Act, Loot, filled
from tests.integration.orchestrator.hostile.stage import SILENT, WITHIN, Stage

REFUSED = {401, 403, 404, 405}
REFUSALS = {"RequestRefused", "UploadLost", "Reconciliation"}
FRESH = "RequestID", "Timestamp"
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT[0-9:.]+(Z|\+00:00)?")
Holder = Callable[[Stage], Client]


def of_node(stage: Stage) -> Client:
    return stage.own.member.client


def of_program(stage: Stage) -> Client:
    return stage.programs["own-all"].client


# ---- NATS, whoever is connected -------------------------------------------------------------------------------------


def listens(subject: str, *, queue: str = "", holder: Holder = of_node) -> Act:
    """A subscription that delivers what the other team does is a gain."""

    async def act(stage: Stage, loot: Loot) -> None:
        client = holder(stage)
        subscription, heard = await stage.hear(client, filled(subject, stage.words), queue)
        await taken_in(client)
        await stage.stir()
        await taken_in(client)
        loot.gain(f"a subscription to {subject} delivers", heard)
        await subscription.unsubscribe()

    return act


def publishes(
    subject: str,
    payload: Any = b"forged",
    *,
    reply: str = "",
    headers: dict[str, str] | None = None,
    holder: Holder = of_node,
) -> Act:
    """What comes back on a subject of the attacker's own is looked at; `reply` is another one."""

    async def act(stage: Stage, loot: Loot) -> None:
        client = holder(stage)
        own = f"{client._inbox_prefix.decode()}.{client._nuid.next().decode()}"
        subscription, heard = await stage.hear(client, own)
        body = payload if isinstance(payload, bytes) else json.dumps(filled(payload, stage.words)).encode()
        loot.say(body, filled(subject, stage.words))
        await client.publish(
            filled(subject, stage.words), body, reply=filled(reply, stage.words) or own, headers=headers
        )
        await taken_in(client)
        await stage.settled_messages()
        for message in heard:
            loot.get(message.data)
        await subscription.unsubscribe()

    return act


def is_unanswered(subject: str, payload: bytes = b"{}", *, holder: Holder = of_node) -> Act:
    """Where nobody is to be reached at all."""

    async def act(stage: Stage, loot: Loot) -> None:
        try:
            answer = await holder(stage).request(filled(subject, stage.words), payload, timeout=SILENT)
        except (nats.errors.Error, TimeoutError):
            return
        loot.gain(f"an answer on {subject}", not answer.headers or answer.headers.get("Status") != "503")

    return act


def connects(**options: Any) -> Act:
    """To be let in is the gain."""

    async def act(stage: Stage, loot: Loot) -> None:
        given = filled(options, stage.words | stage.seeds | stage.tokens | stage.shown_keys())
        try:
            async with stage.connected(**given):
                loot.gain("a connection")
        except (nats.errors.Error, OSError, TimeoutError):
            pass

    return act


# ---- what nodes say -------------------------------------------------------------------------------------------------


def asks_node(request: dict[str, Any], *, is_own: bool = False) -> Act:
    """With its own subject. What is another's has to be answered as what is not there; `is_own` names both."""

    async def act(stage: Stage, loot: Loot) -> None:
        subject = subjects.node_requests(stage.own.member.node.id)
        told = await _answer(stage, subject, filled(request, stage.words))
        loot.say(filled(request, stage.words))
        loot.get(told)
        loot.gain(f"the answer {told.get('type')}", told.get("type") not in REFUSALS)
        if not is_own:
            nothing = await _answer(stage, subject, filled(request, stage.absent))
            loot.gain("it is told apart from what is not there", _leveled(told, stage) != _leveled(nothing, stage))

    return act


async def _answer(stage: Stage, subject: str, request: dict[str, Any]) -> dict[str, Any]:
    answer = await stage.own.member.client.request(subject, json.dumps(request).encode(), timeout=WITHIN)
    told: dict[str, Any] = json.loads(answer.data)
    return told


def _leveled(thing: Any, stage: Stage) -> str:
    """With one word for each thing, whether it is there or not."""
    text = _INSTANT.sub("<instant>", json.dumps(thing, sort_keys=True))
    for name, absent in stage.absent.items():
        if (word := stage.words.get(name, "")) != absent:
            text = text.replace(word, f"<{name}>").replace(absent, f"<{name}>") if word else text
    return text


def reports(*facts: dict[str, Any], execution: str = "{execution}", **more: Any) -> Act:
    return tells({"type": "Report", "execution_id": execution, "facts": list(facts), **more})


def tells(message: dict[str, Any]) -> Act:
    """Durably, on the own subject for reports."""

    async def act(stage: Stage, loot: Loot) -> None:
        await stage.own.member.node.tell(json.dumps(filled(message, stage.words)).encode())

    return act


# ---- the NATS API ---------------------------------------------------------------------------------------------------


def asks_service(what: str, body: Any, *, by: str = "own-all") -> Act:
    async def act(stage: Stage, loot: Loot) -> None:
        program = stage.programs[by]
        told = json.loads(await program.ask(what, filled(body, stage.words)))
        nothing = json.loads(await program.ask(what, filled(body, stage.absent)))
        loot.say(filled(body, stage.words))
        loot.get(told)
        loot.gain("it is told apart from what is not there", _shape(told, stage) != _shape(nothing, stage))

    return act


def is_refused_service(what: str, body: Any, *, by: str) -> Act:
    """That it is done is the gain."""

    async def act(stage: Stage, loot: Loot) -> None:
        told = json.loads(await stage.programs[by].ask(what, filled(body, stage.words)))
        loot.say(filled(body, stage.words))
        loot.get(told)
        loot.gain("it is done", told.get("Status") not in REFUSED)

    return act


def _shape(told: Any, stage: Stage) -> str:
    return _leveled({key: value for key, value in told.items() if key not in FRESH}, stage)


# ---- the HTTP API ---------------------------------------------------------------------------------------------------


def asks(
    path: str, method: str = "GET", body: Any = None, *, by: str = "own-all", headers: dict[str, str] | None = None
) -> Act:
    """What is another's has to be answered as what is not there."""

    async def act(stage: Stage, loot: Loot) -> None:
        told, nothing = [
            await stage.http(filled(path, words), method, filled(body, words), by=by, headers=headers or {})
            for words in (stage.words, stage.absent)
        ]
        loot.say(filled(path, stage.words), filled(body, stage.words), headers or {})
        loot.get(told.body, dict(told.headers))
        is_alike = (told.status, _read(told.json, stage)) == (nothing.status, _read(nothing.json, stage))
        loot.gain("it is told apart from what is not there", not is_alike)

    return act


def _read(told: Any, stage: Stage) -> str:
    return _shape(told, stage) if isinstance(told, dict) else _leveled(told, stage)


def is_refused(
    path: str, method: str = "GET", body: Any = None, *, by: str = "", headers: dict[str, str] | None = None
) -> Act:
    """That it is done is the gain."""

    async def act(stage: Stage, loot: Loot) -> None:
        asked, sent = filled(path, stage.words), filled(body, stage.words)
        shown = filled(headers or {}, stage.words | stage.shown_keys())
        answer = await stage.http(asked, method, sent, by=by, headers=shown)
        loot.say(asked, sent)
        loot.get(answer.body, dict(answer.headers))
        loot.gain(f"it is answered with {answer.status}", answer.status not in REFUSED)

    return act


def basic(name: str, password: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(f'{name}:{password}'.encode()).decode()}"}
