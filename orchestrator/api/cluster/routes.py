"""Routes that tell of the whole cluster, and of the last hour."""

from aiohttp import web

from orchestrator.api.bodies import answer
from orchestrator.api.routes import AGENT, Route
from orchestrator.assembly import Assembly
from shared.protocol.capabilities import READ_AGENT
from shared.protocol.orchestrators.rest_cluster import (
    AgentHistoryResponse,
    ClusterResponse,
    NatsView,
    OrchestratorView,
    StreamView,
)
from shared.runtime.version import version_text


class ClusterRoutes:
    def __init__(self, assembly: Assembly) -> None:
        self._name = assembly.name
        self._embedded = not assembly.config.orchestrator.nats.servers
        self._connection = assembly.connection
        self._lease = assembly.lease
        self._orchestrators = assembly.orchestrators
        self._streams = assembly.streams
        self._last_hour = assembly.last_hour

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(
                "GET",
                f"{AGENT}/cluster",
                self.get_cluster,
                "The orchestrators that there are, which of them leads, and NATS as this one sees it.",
                ClusterResponse,
                needs=READ_AGENT,
                everywhere=True,
            ),
            Route(
                "GET",
                f"{AGENT}/history",
                self.get_agent_history,
                "What this orchestrator has measured in the last hour, every ten seconds.",
                AgentHistoryResponse,
                needs=READ_AGENT,
                everywhere=True,
            ),
        )

    async def get_cluster(self, _: web.Request) -> web.Response:
        leader = self._lease.leader
        known = {(each.name, each.version) for each in self._orchestrators.known()} | {(self._name, version_text())}
        orchestrators = tuple(
            OrchestratorView(id=name, version=version, leads=name == leader, answers=name == self._name)
            for name, version in sorted(known)
        )
        return answer(ClusterResponse(leader=leader, orchestrators=orchestrators, nats=self._nats()))

    def _nats(self) -> NatsView:
        server = self._connection.server
        return NatsView(
            connected=self._connection.connected,
            server=server.name,
            version=server.version,
            embedded=self._embedded,
            streams=tuple(
                StreamView(
                    name=name,
                    bytes=each.bytes,
                    messages=each.messages,
                    limit_bytes=each.limit_bytes,
                    replicas=each.replicas,
                    servers=dict(each.servers),
                )
                for name, each in self._streams.streams.items()
            ),
        )

    async def get_agent_history(self, _: web.Request) -> web.Response:
        return answer(self._last_hour.view())
