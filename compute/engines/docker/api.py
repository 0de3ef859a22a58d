"""Requests to a container engine over its socket, and the two ways in which they can fail.

This is the one module that knows aiodocker. Docker's engine and Podman's compatible socket answer alike. What is asked
for every container and answered at once goes past aiodocker, which costs a node several times as much.
"""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiodocker
import aiohttp
import msgspec

from compute.engines.docker.facts import EngineFacts, facts_of
from shared.ids import ExecutionId
from shared.web.short_requests import HttpServer, ShortRequests, request_head

_encoder = msgspec.json.Encoder()

ANSWER_SECONDS = 60.0
"""For what the engine does at once; starting a container on a busy machine takes seconds."""
LOOK_SECONDS = 5.0
MEASURE_SECONDS = 600.0
READ_BYTES = 256 * 1024
_ALREADY_SO, _NOT_FOUND, _FAILED = 304, 404, 500
_NO_CONNECTION = 900
"""The status under which aiodocker tells that nobody listens."""
_AUTO = "auto"
"""The version of the API before aiodocker has asked for it."""


class EngineAway(Exception):
    """The engine does not answer, or no longer."""


class EngineRefusal(Exception):
    """The engine answers with an error."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class ContainerState(msgspec.Struct, frozen=True, kw_only=True):
    id: str = ""
    pid: int = 0
    """Of its first process, as the engine sees it; 0 where it does not run."""
    status: str
    exit_code: int
    oom_killed: bool | None
    """None where nobody can tell."""
    is_starved: bool = False
    """Whether that was only because the machine had no memory left, as far as is known."""
    started_at: str
    ended_at: str = ""
    created_at: str = ""
    image_id: str = ""
    """In hexadecimal."""

    @property
    def is_running(self) -> bool:
        return self.status in {"running", "paused", "restarting", "removing", "stopping"}

    @property
    def has_ended(self) -> bool:
        return self.status in {"exited", "stopped", "dead"}

    @property
    def has_begun(self) -> bool:
        return self.is_running or self.has_ended

    def has_ended_with(self, exit_code: int | None) -> bool:
        """None is any."""
        return self.has_ended and exit_code in {None, self.exit_code}

    @property
    def started_seconds(self) -> float:
        return _seconds(self.started_at)

    @property
    def created_seconds(self) -> float:
        return _seconds(self.created_at)

    @property
    def ended_seconds(self) -> float:
        return _seconds(self.ended_at)


class ContainerEvent(msgspec.Struct, frozen=True, kw_only=True):
    """What happened to a container, and when in nanoseconds. Its `signal` or `exit_code`, if the engine tells that."""

    name: str
    action: str
    at: int
    signal: str = ""
    exit_code: str = ""


class PullStep(msgspec.Struct, frozen=True, kw_only=True):
    """One line of what the engine tells while it pulls. `layer` is empty where it speaks of the whole image."""

    layer: str = ""
    status: str = ""
    done_bytes: int = 0
    total_bytes: int = 0


class DockerApi:
    """Containers are called by their names."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        # Each running container holds a connection, so their number is bounded by the node's capacity alone.
        self._connector = aiohttp.UnixConnector(path=str(socket), limit=0)
        self._client = aiodocker.Docker(url="http://engine", connector=self._connector)
        self._short = ShortRequests()
        self._server = HttpServer(socket=str(socket))

    def __repr__(self) -> str:
        return f"<DockerApi {self._socket}>"

    async def close(self) -> None:
        self._short.close()
        await self._client.close()
        await self._connector.close()

    async def facts(self) -> EngineFacts:
        with _translated():
            async with asyncio.timeout(LOOK_SECONDS):
                return facts_of(await self._client.system.info())

    async def answers(self) -> None:
        """Raises EngineAway unless it does."""
        with _translated():
            async with asyncio.timeout(LOOK_SECONDS):
                await self._client.version()

    async def create(self, name: str, spec: Mapping[str, Any]) -> None:
        await self._ask("POST", f"containers/create?name={name}", _encoder.encode(spec))

    async def start(self, name: str) -> None:
        await self._ask("POST", f"containers/{name}/start")

    @asynccontextmanager
    async def attached(self, name: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """The framed output from now until both streams are closed, unbuffered: who reads slowly slows the task."""
        async with _answer():
            response = await self._open(
                "POST", f"containers/{name}/attach", {"stream": "1", "stdout": "1", "stderr": "1"}
            )
        async with response:
            yield _chunks(response)

    @asynccontextmanager
    async def logged(self, name: str, *, with_times: bool = False) -> AsyncIterator[AsyncIterator[bytes]]:
        """The framed output that the engine has kept of a container that has ended; each frame may have its time."""
        query = {"stdout": "1", "stderr": "1", "timestamps": "1" if with_times else "0"}
        async with _answer():
            response = await self._open("GET", f"containers/{name}/logs", query)
        async with response:
            yield _chunks(response)

    @asynccontextmanager
    async def archived(self, name: str, path: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """What lies in a folder of the container, as a tar archive with names from that folder on, read as root."""
        async with _answer():
            response = await self._open("GET", f"containers/{name}/archive", {"path": f"{path}/."})
        async with response:
            yield _chunks(response)

    async def extract(self, name: str, path: str, archive: AsyncIterator[bytes]) -> None:
        """Write a tar archive into a folder of the container, as root. The caller writes the deadline."""
        with _translated():
            tar = {"Content-Type": "application/x-tar"}
            response = await self._open("PUT", f"containers/{name}/archive", {"path": path}, archive, headers=tar)
            response.release()

    @asynccontextmanager
    async def events(
        self, label: str, value: str, actions: Collection[str]
    ) -> AsyncIterator[AsyncIterator[ContainerEvent]]:
        """What happens to the containers with `label` = `value` from now on."""
        filters = {"type": ["container"], "event": list(actions), "label": [f"{label}={value}"]}
        await self.answers()
        async with _answer():
            response = await self._open("GET", "events", {"filters": json.dumps(filters)})
        async with response:
            yield _events(response)

    async def history(self, name: str, *, since: float, until: float) -> list[ContainerEvent]:
        """What the engine remembers of one container between two times of its clock: all of it, some, or nothing.

        Docker waits for `until`; Podman gives what there is, but mostly nothing if `until` is past.
        """
        filters = json.dumps({"type": ["container"], "container": [name]})
        query = {"filters": filters, "since": str(int(since)), "until": str(int(until) + 1), "stream": "false"}
        async with _answer():
            response = await self._open("GET", "events", query)
            async with response:
                return [event async for event in _events(response)]

    async def wait(self, name: str) -> int | None:
        """The exit code, when there is one; None where the engine could not see it. The caller writes the deadline."""
        with _translated():
            ended = await self._client.containers.container(name).wait()
        # Podman tells an exit code of 0 beside the error where the container was removed meanwhile.
        return None if ended.get("Error") else int(ended["StatusCode"])

    async def inspect(self, name: str) -> ContainerState:
        found = json.loads(await self._ask("GET", f"containers/{name}/json"))
        state = found["State"]
        return ContainerState(
            id=str(found.get("Id") or ""),
            pid=int(state.get("Pid") or 0),
            status=state["Status"],
            exit_code=int(state["ExitCode"]),
            oom_killed=bool(state.get("OOMKilled")),
            started_at=str(state.get("StartedAt") or ""),
            ended_at=str(state.get("FinishedAt") or ""),
            created_at=str(found.get("Created") or ""),
            image_id=str(found.get("Image") or "").removeprefix("sha256:"),
        )

    async def written_bytes(self, name: str) -> int:
        """What the container has written to its own layer, which the engine measures by walking it."""
        with _translated():
            async with asyncio.timeout(MEASURE_SECONDS):
                shown = await self._client.containers.container(name).show(size="true")
        return int(shown.get("SizeRw") or 0)

    async def given_devices(self, name: str) -> list[str]:
        """The ids of the devices that the engine is going to give to the container by a driver."""
        async with _answer():
            found = await self._client.containers.container(name).show()
        requests = found["HostConfig"].get("DeviceRequests") or ()
        return [str(device) for request in requests for device in request.get("DeviceIDs") or ()]

    async def subnets(self, network: str) -> list[str]:
        """Which addresses the containers of a network have; none if there is no such network."""
        try:
            async with _answer():
                response = await self._open("GET", f"networks/{quote(network, safe='')}", {})
                async with response:
                    found = await response.json()
        except EngineRefusal as error:
            if error.status != _NOT_FOUND:
                raise
            return []
        return [str(each.get("Subnet") or "") for each in (found.get("IPAM") or {}).get("Config") or ()]

    async def has_file(self, name: str, path: str) -> bool:
        """Whether there is something under this path in the container, also in one that was never started."""
        try:
            async with _answer():
                response = await self._open("HEAD", f"containers/{name}/archive", {"path": path})
                response.release()
        except EngineRefusal as error:
            if error.status != _NOT_FOUND:
                raise
            return False
        return True

    async def ask_to_stop(self, name: str) -> None:
        """Send the signal that its image names, or TERM. Raises EngineRefusal, also where it has ended."""
        async with _answer():
            container = self._client.containers.container(name)
            image = await self._client.images.inspect((await container.show())["Image"])
            await container.kill(signal=(image.get("Config") or {}).get("StopSignal") or "SIGTERM")

    async def kill(self, name: str) -> None:
        """Returns when it has ended; the caller writes the deadline. Raises EngineRefusal, also where it has ended."""
        async with _answer():
            await self._client.containers.container(name).kill(signal="SIGKILL")
        await self.wait(name)

    async def remove(self, name: str) -> None:
        """With its volumes, killed if it runs. Absent is fine."""
        try:
            await self._ask("DELETE", f"containers/{name}?force=true&v=true")
        except EngineRefusal as error:
            if error.status not in {_NOT_FOUND, 409}:  # 409: somebody else is removing it
                raise

    async def labelled(self, label: str, value: str, wanted: str) -> dict[str, ExecutionId]:
        """All containers with `label` = `value`: their names, and what their label `wanted` says."""
        filters = json.dumps({"label": [f"{label}={value}"]})
        async with _answer():
            found = await self._client.containers.list(all=True, filters=filters)
        names = ((str(each["Names"][0]).lstrip("/"), each["Labels"].get(wanted, "")) for each in found)
        return {name: ExecutionId(labelled) for name, labelled in names}

    async def pull(self, image: str, auth: Mapping[str, str] | None) -> AsyncIterator[PullStep]:
        """`image` names its registry. Raises EngineRefusal, with the registry's own words.

        Of aiodocker, a pull that is given up keeps its connection until the garbage is collected.
        """
        query = {"fromImage": image}
        if "@" not in image and ":" not in image.rpartition("/")[2]:
            query["tag"] = "latest"  # without one it would be all of them
        headers = (
            {"X-Registry-Auth": base64.urlsafe_b64encode(json.dumps(dict(auth)).encode()).decode()} if auth else {}
        )
        with _translated():
            response = await self._open("POST", "images/create", query, headers=headers)
            async with response:
                async for line in response.content:
                    yield _pull_step(json.loads(line))

    async def _ask(self, method: str, path: str, body: bytes = b"") -> bytes:
        """The answer to what is asked for each container, which costs aiodocker several times as much."""
        async with _answer():
            if self._client.api_version == _AUTO:
                await self._client.version()  # by which aiodocker finds out what it is
            target = f"/{self._client.api_version}/{path}"
            kind = {"Content-Type": "application/json"} if body else {}
            head = request_head(method, "engine", target, {**kind, "Content-Length": str(len(body))})
            assert head is not None, path
            found = await self._short.ask(self._server, head + body, may_repeat=method != "POST")
        if found.status >= 300 and found.status != _ALREADY_SO:
            raise EngineRefusal(found.status, _message(found.body))
        return found.body

    async def _open(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: AsyncIterator[bytes] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> aiohttp.ClientResponse:
        """A stream of raw bytes, which aiodocker would give as text only, or after one more request."""
        url = f"http://engine/{self._client.api_version}/{path}"
        response = await self._client.session.request(
            method, url, params=query, data=body, headers=headers, read_bufsize=READ_BYTES
        )
        if response.status >= 300:
            async with response:
                raise EngineRefusal(response.status, _message(await response.read()))
        return response


@asynccontextmanager
async def _answer() -> AsyncIterator[None]:
    with _translated():
        async with asyncio.timeout(ANSWER_SECONDS):
            yield


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except aiodocker.DockerError as error:
        if error.status == _NO_CONNECTION:
            raise EngineAway(error.message) from error
        raise EngineRefusal(error.status, error.message) from error
    except TimeoutError as error:
        raise EngineAway("it did not answer in time") from error
    except (aiohttp.ClientError, OSError) as error:
        raise EngineAway(str(error) or type(error).__name__) from error


async def _chunks(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    with _translated():
        async for chunk in response.content.iter_any():
            yield chunk


async def _events(response: aiohttp.ClientResponse) -> AsyncIterator[ContainerEvent]:
    with _translated():
        async for line in response.content:
            event = json.loads(line)
            told = event["Actor"]["Attributes"]
            yield ContainerEvent(
                name=told["name"],
                action=str(event.get("Action", "")),
                at=int(event.get("timeNano") or 0),
                signal=str(told.get("signal", "")),
                exit_code=str(told.get("exitCode", "")),
            )


def _seconds(text: str) -> float:
    """Since 1970; 0.0 where there is no such time."""
    try:
        return max(0.0, datetime.fromisoformat(text).timestamp())
    except ValueError:
        return 0.0


def _pull_step(line: Mapping[str, Any]) -> PullStep:
    """Raises EngineRefusal where the pull has failed."""
    if line.get("error"):
        raise EngineRefusal(_FAILED, str(line["error"]))
    detail = line.get("progressDetail") or {}
    return PullStep(
        layer=str(line.get("id") or ""),
        status=str(line.get("status") or ""),
        done_bytes=int(detail.get("current") or 0),
        total_bytes=int(detail.get("total") or 0),
    )


def _message(body: bytes) -> str:
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return body[:500].decode(errors="replace")
