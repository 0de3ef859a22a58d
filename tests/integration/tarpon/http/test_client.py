"""What the client does when the network or the server is not at its best: a server that follows a script plays them."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager

import pytest
from aiohttp import web

import tarpon
from shared.errors import InvalidDocument, OrchestratorUnreachable, RemoteError
from shared.jobs.spec import Job, JobView
from shared.protocol import rest
from tarpon.http.calls import ATTEMPTS, NotAnOrchestrator
from tests.servers import HOST, free_ports
from tests.waiting import eventually

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

JOB = {
    "ID": "j-1",
    "Name": "a",
    "Version": 1,
    "Revision": 1,
    "CreateTime": 1,
    "ModifyTime": 2,
    "State": {"StateType": "Running"},
}
ENDED = {**JOB, "State": {"StateType": "Completed"}}


def history(number: int) -> dict[str, object]:
    at = "2026-03-01T12:00:00Z"
    event = {"Message": f"event {number}", "Topic": "Scheduling", "Timestamp": at}
    return {"SeqNum": number, "Type": "JobLevel", "JobID": "j-1", "Event": event, "Time": at}


def sent(number: int, kind: str, data: object) -> bytes:
    return f"id: {number}\nevent: {kind}\ndata: {json.dumps(data)}\n\n".encode()


class Scripted:
    """Answers each request by the next step of the script; the last step is repeated."""

    def __init__(self, *steps: Handler) -> None:
        self.requests: list[web.Request] = []
        self.bodies: list[bytes] = []
        self._steps = list(steps)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        self.bodies.append(await request.read())
        step = self._steps.pop(0) if len(self._steps) > 1 else self._steps[0]
        return await step(request)


def answer(body: object, status: int = 200) -> Handler:
    async def respond(_: web.Request) -> web.StreamResponse:
        return web.json_response(body, status=status)

    return respond


def page(status: int) -> Handler:
    """Of something that is no orchestrator."""

    async def respond(_: web.Request) -> web.StreamResponse:
        return web.Response(text="<html>It works!</html>", content_type="text/html", status=status)

    return respond


def hang_up() -> Handler:
    async def respond(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    return respond


def stream(*parts: bytes, then_hang_up: bool = False, endless: bool = False) -> Handler:
    async def respond(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for part in parts:
            await response.write(part)
        if endless:
            await asyncio.Event().wait()
        if then_hang_up:
            assert request.transport is not None
            request.transport.close()
        return response

    return respond


@asynccontextmanager
async def client_of(script: Scripted) -> AsyncIterator[tarpon.Client]:
    async with serving(script) as url, tarpon.Client(url, patience=5) as client:
        yield client


@asynccontextmanager
async def serving(script: Scripted) -> AsyncIterator[str]:
    """The URL at which the script is played."""
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", script.handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    try:
        (port,) = free_ports(1)
        await web.TCPSite(runner, HOST, port).start()
        yield f"http://{HOST}:{port}"
    finally:
        await runner.cleanup()


async def test_nobody_at_the_address_is_told_as_such() -> None:
    (port,) = free_ports(1)
    async with tarpon.Client(HOST, port) as client:
        with pytest.raises(OrchestratorUnreachable, match=str(port)):
            await client.alive()
        with pytest.raises(OrchestratorUnreachable):
            await client.wait("j-1")


async def test_of_several_orchestrators_the_next_is_asked_where_one_is_away_or_not_ready() -> None:
    (closed,) = free_ports(1)
    not_ready = answer({"Message": "not yet", "Code": "NotReady"}, 503)
    for bad in (not_ready, hang_up(), answer("something else", 404)):
        first, second = Scripted(bad), Scripted(answer({"JobID": "j-1"}))
        async with serving(first) as one, serving(second) as two:
            hosts = [f"{HOST}:{closed}", one, two]
            async with tarpon.Client(hosts) as client:
                assert (await client.submit(Job(name="a"))).job_id == "j-1"
                assert (await client.submit(Job(name="b"))).job_id == "j-1"
                assert client.url == two
        assert len(second.requests) == 2
        assert json.loads(first.bodies[0]) == json.loads(second.bodies[0]), "it is the same submit"


async def test_of_several_orchestrators_none_may_be_there() -> None:
    ports = free_ports(2)
    async with tarpon.Client([f"{HOST}:{port}" for port in ports]) as client:
        with pytest.raises(OrchestratorUnreachable, match=f"{HOST}:{ports[0]}, http://{HOST}:{ports[1]}"):
            await client.alive()
        with pytest.raises(OrchestratorUnreachable):
            await client.wait("j-1")


async def test_a_refusal_of_one_of_several_orchestrators_is_the_answer() -> None:
    refusing, other = Scripted(answer({"Message": "no", "Code": "JobNotFound"}, 404)), Scripted(answer({}))
    async with serving(refusing) as one, serving(other) as two, tarpon.Client([one, two]) as client:
        with pytest.raises(RemoteError, match="no"):
            await client.get("j-1")
    assert other.requests == []


async def test_a_watch_goes_on_at_the_next_orchestrator() -> None:
    first = Scripted(stream(sent(1, "history", history(1)), then_hang_up=True))
    second = Scripted(stream(sent(2, "history", history(2)), sent(2, "job", ENDED)))
    async with serving(first) as one, serving(second) as two, tarpon.Client([one, two]) as client:
        seen = [event async for event in client.watch("j-1")]
    assert [event.seq_num for event in seen if isinstance(event, rest.HistoryItem)] == [1, 2]
    assert second.requests[0].headers["Last-Event-ID"] == "1"


async def test_a_submit_that_got_lost_is_repeated_as_the_same_submit() -> None:
    script = Scripted(
        hang_up(), answer({"Code": "NotReady", "Message": "soon"}, 503), answer({"JobID": "j-1", "Warnings": ["w"]})
    )
    async with client_of(script) as client:
        submitted = await client.submit(Job(name="a"))
    assert (submitted.job_id, submitted.warnings) == ("j-1", ("w",))
    tokens = {json.loads(body)["IdempotencyToken"] for body in script.bodies}
    assert len(script.bodies) == 3
    assert len(tokens) == 1
    assert tokens != {""}


async def test_two_submits_are_two_jobs() -> None:
    script = Scripted(answer({"JobID": "j-1"}))
    async with client_of(script) as client:
        await client.submit(Job(name="a"))
        await client.submit(Job(name="a"))
    first, second = (json.loads(body)["IdempotencyToken"] for body in script.bodies)
    assert first != second


async def test_a_job_may_be_a_mapping_with_keys_in_any_case() -> None:
    script = Scripted(answer({"JobID": "j-1"}))
    async with client_of(script) as client:
        await client.submit({"name": "a", "TASKS": [{"engine": {"type": "noop"}}]})
        with pytest.raises(InvalidDocument, match="did you mean Name"):
            await client.submit({"nme": "a"})
        with pytest.raises(InvalidDocument, match="did you mean Image"):
            await client.submit({"Tasks": [{"Engine": {"Type": "docker", "Params": {"Imge": "busybox"}}}]})
    assert json.loads(script.bodies[0])["Job"]["Tasks"][0]["Engine"] == {"Type": "noop"}


async def test_an_orchestrator_is_told_the_type_that_a_job_leaves_out() -> None:
    script = Scripted(answer({"JobID": "j-1"}))
    async with client_of(script) as client:
        await client.submit(Job(name="a"))
        await client.submit({"name": "a", "type": "ops"})
    assert [json.loads(body)["Job"]["Type"] for body in script.bodies] == ["batch", "ops"]


async def test_a_refusal_comes_with_the_servers_own_words_and_is_not_repeated() -> None:
    body = {"Status": 409, "Code": "JobEnded", "Message": "too late", "Hint": "look", "Details": {"a": "b"}}
    script = Scripted(answer(body, 409))
    async with client_of(script) as client:
        with pytest.raises(RemoteError) as caught:
            await client.stop("j-1", reason="enough")
    error = caught.value
    assert (error.remote_code, error.message, error.hint, error.status) == ("JobEnded", "too late", "look", 409)
    assert error.details == {"a": "b"}
    assert [json.loads(each) for each in script.bodies] == [{"reason": "enough"}]


async def test_a_server_that_stays_broken_is_given_up() -> None:
    script = Scripted(answer({"Code": "InternalError", "Message": "broken"}, 500))
    async with client_of(script) as client:
        with pytest.raises(RemoteError, match="broken"):
            await client.get("j-1")
    assert len(script.requests) == ATTEMPTS


async def test_something_else_that_listens_there_is_not_taken_for_an_orchestrator() -> None:
    async with client_of(Scripted(page(200))) as client:
        with pytest.raises(NotAnOrchestrator):
            await client.alive()


async def test_a_proxy_that_has_never_had_an_orchestrator_behind_it_is_not_waited_for() -> None:
    async def page(_: web.Request) -> web.StreamResponse:
        return web.Response(text="<html>Bad gateway</html>", status=502, content_type="text/html")

    script = Scripted(page)
    async with client_of(script) as client, asyncio.timeout(30):  # it is patient for 120 s
        with pytest.raises(NotAnOrchestrator, match="HTTP status 502"):
            await client.patiently(client.alive)
        assert len(script.requests) == ATTEMPTS
        with pytest.raises(NotAnOrchestrator, match="HTTP status 502"):
            async for _ in client.watch("j-1"):
                pass


async def test_ids_are_quoted_so_that_they_stay_one_part_of_the_path() -> None:
    script = Scripted(answer({"Job": JOB}))
    async with client_of(script) as client:
        await client.get("../nodes?x=1")
    assert script.requests[0].raw_path == "/api/v1/orchestrator/jobs/..%2Fnodes%3Fx=1"


async def test_results_are_collected_over_all_pages() -> None:
    def item(name: str) -> dict[str, object]:
        return {"Type": "s3PreSigned", "Params": {"PreSignedURL": "http://x/", "ExecutionID": name}}

    script = Scripted(
        answer({"NextToken": "2", "Items": [item("e-1")]}), answer({"NextToken": "", "Items": [item("e-2")]})
    )
    async with client_of(script) as client:
        results = await client.results("j-1")
    assert [each.params.execution_id for each in results] == ["e-1", "e-2"]
    assert script.requests[1].query["next_token"] == "2"


async def test_a_watch_that_breaks_off_goes_on_where_it_was() -> None:
    script = Scripted(
        stream(sent(1, "history", history(1)), sent(1, "job", JOB), b":\n\nid: 2\nevent: hist", then_hang_up=True),
        hang_up(),
        answer({"Code": "NotReady", "Message": "starting"}, 503),
        stream(sent(2, "history", history(2)), sent(2, "job", ENDED)),
    )
    async with client_of(script) as client:
        seen = [each async for each in client.watch("j-1")]
    assert [each.seq_num for each in seen if isinstance(each, rest.HistoryItem)] == [1, 2]
    assert [each.state.state_type for each in seen if isinstance(each, JobView)] == ["Running", "Completed"]
    assert [request.headers.get("Last-Event-ID") for request in script.requests] == [None, "1", "1", "1"]


async def test_a_watch_waits_for_an_orchestrator_that_was_there_a_moment_ago() -> None:
    # aiohttp itself repeats a request once where a connection that it kept turns out to be closed.
    script = Scripted(answer({"JobID": "j-1"}), hang_up(), hang_up(), stream(sent(1, "job", ENDED)))
    async with client_of(script) as client:
        await client.submit(Job(name="a"))
        assert (await client.wait("j-1")).state.state_type == "Completed"


async def test_a_watch_outlasts_what_a_proxy_says_of_an_orchestrator_that_is_away() -> None:
    script = Scripted(
        stream(sent(1, "job", JOB), then_hang_up=True), page(502), page(504), stream(sent(2, "job", ENDED))
    )
    async with client_of(script) as client:
        assert (await client.wait("j-1")).state.state_type == "Completed"
    for never in (Scripted(page(502)), Scripted(stream(sent(1, "job", JOB), then_hang_up=True), page(404))):
        async with client_of(never) as client:
            with pytest.raises(NotAnOrchestrator):
                await client.wait("j-1")


async def test_what_is_asked_patiently_is_asked_again_behind_a_proxy_too() -> None:
    script = Scripted(answer({"Job": JOB}), page(502), answer({"Job": ENDED}))
    async with client_of(script) as client:
        await client.get("j-1")
        assert (await client.patiently(lambda: client.get("j-1"))).state.state_type == "Completed"


async def test_for_how_long_nobody_answers_who_is_waited_for_is_known_until_somebody_does() -> None:
    is_started = asyncio.Event()

    async def later(request: web.Request) -> web.StreamResponse:
        await is_started.wait()
        return await stream(sent(2, "job", ENDED))(request)

    starting = answer({"Code": "NotReady", "Message": "Not yet."}, 503)
    script = Scripted(stream(sent(1, "job", JOB), then_hang_up=True), starting, later)
    async with client_of(script) as client, asyncio.TaskGroup() as group:
        assert client.absence() is None
        group.create_task(client.wait("j-1"), name="wait")
        await eventually(lambda: client.absence() is not None, what="nobody answers")
        await eventually(lambda: len(script.requests) == 3, what="it is asked again")
        absence = client.absence()
        is_started.set()
        await eventually(lambda: client.absence() is None, what="somebody answers")
    assert absence is not None
    assert (absence.told, absence.why) == (client.url, "it is not ready (Not yet)")


async def test_waiting_gives_the_job_as_it_ended() -> None:
    async with client_of(Scripted(stream(sent(1, "job", JOB), sent(1, "job", ENDED)))) as client:
        assert (await client.wait("j-1")).state.state_type == "Completed"


async def test_a_watch_of_a_job_that_does_not_exist_is_refused() -> None:
    async with client_of(Scripted(answer({"Code": "JobNotFound", "Message": "no"}, 404))) as client:
        with pytest.raises(RemoteError, match="no"):
            await client.wait("j-9")


async def test_a_watch_skips_events_of_kinds_that_it_does_not_know() -> None:
    async with client_of(Scripted(stream(sent(1, "weather", {"sun": 1}), sent(2, "job", ENDED)))) as client:
        assert len([each async for each in client.watch("j-1")]) == 1


async def test_a_watch_gives_up_an_orchestrator_that_stays_away(monkeypatch: pytest.MonkeyPatch) -> None:
    script = Scripted(stream(sent(1, "job", JOB), then_hang_up=True), hang_up())
    async with client_of(script) as client:
        monkeypatch.setattr(client, "_patience", 0.3)
        with pytest.raises(OrchestratorUnreachable):
            await client.wait("j-1")


async def test_a_watch_that_is_left_closes_its_connection() -> None:
    gone = asyncio.Event()

    async def endless(request: web.Request) -> web.StreamResponse:
        try:
            return await stream(sent(1, "job", JOB), endless=True)(request)
        finally:
            gone.set()

    async with client_of(Scripted(endless)) as client:
        async with aclosing(client.watch("j-1")) as events:
            assert isinstance(await anext(events), JobView)
        await eventually(gone.is_set, what="the server saw the connection close")
    assert gone.is_set()


async def test_a_watch_that_is_cancelled_closes_its_connection() -> None:
    begun, gone = asyncio.Event(), asyncio.Event()

    async def endless(request: web.Request) -> web.StreamResponse:
        begun.set()
        try:
            return await stream(endless=True)(request)
        finally:
            gone.set()

    async with client_of(Scripted(endless)) as client, asyncio.TaskGroup() as group:
        waiting = group.create_task(client.wait("j-1"), name="waiting")
        await begun.wait()
        waiting.cancel()
        await eventually(gone.is_set, what="the server saw the connection close")
    assert waiting.cancelled()
