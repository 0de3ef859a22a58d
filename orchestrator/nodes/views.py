"""Views of nodes: the shapes of the HTTP API, made from what is stored of a node and what it said last."""

from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime
from itertools import islice

from orchestrator.admission.principals import Principal
from orchestrator.nodes.presence import Nodes
from orchestrator.nodes.warnings import warnings_about
from orchestrator.rules.joining.key_lives import kept
from orchestrator.rules.records import BindingRecord, ExecutionRecord, NodeRecord, Suspicion
from orchestrator.state.model import Model
from orchestrator.storage.wall_clock import instant, now_ns
from shared.ids import NodeId
from shared.jobs.capacity import Capacity
from shared.jobs.states import ExecutionState
from shared.protocol import rest_nodes
from shared.protocol.messages import ContainerEngine, Heartbeat, NodeInfo
from shared.protocol.rest_nodes import NodeState
from shared.runtime.automatic_labels import OS_ARCH, OS_TYPE
from shared.runtime.version import version_text

MAX_PROBLEMS = 10
MAX_PROBLEM = 500
MAX_WORDS = 20
MAX_WORD = 100
"""Of what a node says of its container engine."""


def node_state(model: Model, nodes: Nodes, node: NodeId, *, sees: Callable[[str], bool] | None = None) -> NodeState:
    """To whom `sees` some namespaces alone nothing is told of what others run there, but for what room they leave."""
    live = tuple([each for each in model.executions.live.get(node, {}).values() if not each.is_over_there])
    told = live if sees is None else tuple(each for each in live if sees(_namespace(model, each)))
    info = model.nodes[node].info
    connected = nodes.is_connected(node)
    status = rest_nodes.CONNECTED if connected else rest_nodes.DISCONNECTED
    seen, since = nodes.last_seen(node), nodes.changed_at(node)
    rejected, binding = model.rejected.get(node), model.bindings.get(node)
    return NodeState(
        info=rest_nodes.NodeInfoView(
            node_id=node,
            node_type=rest_nodes.COMPUTE,
            host=info.host[:MAX_WORD],
            labels=info.labels,
            supported_protocols=(f"tarpon/v{info.protocol_max}",),
            compute_node_info=_compute_info(info, live, told, _beat(nodes, node) if sees is None else None),
            version=version_view(
                info.version,
                operating_system=info.labels.get(OS_TYPE, "linux"),
                architecture=info.labels.get(OS_ARCH, ""),
            ),
        ),
        membership=_membership(binding),
        connection=status,
        connection_state=rest_nodes.ConnectionState(
            status=status,
            last_heartbeat=seen,
            connected_since=since if connected else None,
            disconnected_since=None if connected else since,
            last_error=_rejection(rejected) if rejected else _shut_out(nodes.budgets.shut_out_seconds(node)),
        ),
        draining=model.nodes[node].draining,
        suspicion=_suspicion(model.nodes[node].suspicion, in_full=sees is None),
        live_executions=len(told),
        differed=model.nodes[node].differed if sees is None else 0,
        differences=_differences(model.nodes[node]) if sees is None else (),
        namespaces=tuple(each for each in binding.namespaces if sees is None or sees(each)) if binding else (),
        owner=binding.owner if binding and sees is None else "",
        join_token=binding.token if binding and sees is None else "",
        keys=node_keys(model, node, sees=sees).keys if binding else (),
        warnings=warnings_about(model.nodes[node], nodes, version=version_text()) if sees is None else (),
        over_budget={kind.value: count for kind, count in nodes.budgets.over.get(node, {}).items()},
    )


def nodes_seen(model: Model, principal: Principal) -> Collection[NodeId]:
    """Of nodes that serve other namespaces alone nobody hears who may not see these."""
    if principal.sees_all:
        return model.nodes
    return {
        node: None
        for node in model.nodes
        if (binding := model.bindings.get(node)) is None
        or not binding.namespaces
        or any(principal.sees(each) for each in binding.namespaces)
    }


def node_keys(model: Model, node: NodeId, *, sees: Callable[[str], bool] | None = None) -> rest_nodes.NodeKeysResponse:
    """Also of a node that was deleted. Who `sees` some namespaces alone is told of the keys with which it served them.

    What is not stored yet of how the node is bound now is told as it will be.
    """
    record = kept(node, model.keys.get(node), model.bindings.get(node), now_ns())
    if record is None:
        return rest_nodes.NodeKeysResponse(node_id=node)
    told = [each for each in record.lives if sees is None or not each.namespaces or any(map(sees, each.namespaces))]
    keys = tuple(
        rest_nodes.NodeKeyView(
            key=each.public_key,
            state=each.ended or rest_nodes.CURRENT,
            since=_moment(each.since),
            until=_moment(each.until),
            owner=each.owner if sees is None else "",
        )
        for each in reversed(told)
    )
    return rest_nodes.NodeKeysResponse(node_id=node, keys=keys, forgotten_until=_moment(record.forgotten))


def _moment(at: int) -> datetime | None:
    return instant(at) if at else None


def _membership(binding: BindingRecord | None) -> str:
    if binding is not None and binding.rejected:
        return rest_nodes.REJECTED
    return rest_nodes.PENDING if binding is not None and binding.unapproved else rest_nodes.APPROVED


def _shut_out(seconds: float) -> str:
    return f"It has sent far too much, and is shut out for {seconds:.0f} s more" if seconds else ""


def _namespace(model: Model, record: ExecutionRecord) -> str:
    """That of its job, which may be gone; no namespace has an empty name."""
    entry = model.jobs.get(record.job_id)
    return entry.namespace if entry else ""


def _suspicion(known: Suspicion | None, *, in_full: bool) -> str:
    """What a task failed for may be told to those alone who may see its job."""
    if known is None:
        return ""
    if not in_full:
        return "It has failed different jobs in a row, and is given one task at a time"
    last = f"{known.reason}: {known.detail}" if known.detail else known.reason
    since = instant(known.since).isoformat(timespec="seconds")
    return f"It has failed different jobs in a row since {since}, and is given one task at a time ({last})"


def _differences(record: NodeRecord) -> tuple[rest_nodes.DifferenceView, ...]:
    """The newest first."""
    return tuple(
        rest_nodes.DifferenceView(
            execution_id=each.execution, job_id=each.job, time=instant(each.time), detail=each.detail
        )
        for each in reversed(record.differences)
    )


def _rejection(record: BindingRecord) -> str:
    when = instant(record.rejected).isoformat(timespec="seconds")
    return f"Rejected by an operator at {when}{f': {record.message}' if record.message else ''}"


def _beat(nodes: Nodes, node: NodeId) -> Heartbeat | None:
    presence = nodes.presence(node)
    return presence.heartbeat if presence else None


def _compute_info(
    info: NodeInfo, live: Iterable[ExecutionRecord], told: Iterable[ExecutionRecord], beat: Heartbeat | None
) -> rest_nodes.ComputeNodeInfo:
    """`told` are those whose reader may see them; `beat` has the node's own numbers, which are of all that it holds."""
    used = _sum(each.resources for each in live if each.state.holds_capacity)
    running = sum(each.state is ExecutionState.RUNNING for each in told)
    return rest_nodes.ComputeNodeInfo(
        execution_engines=info.engines,
        publishers=info.publishers,
        storage_sources=info.input_sources,
        max_capacity=info.capacity,
        available_capacity=info.capacity.minus(used),
        max_job_requirements=info.capacity,
        running_executions=beat.running if beat else running,
        enqueued_executions=beat.queued if beat else 0,
        publishing_executions=beat.publishing if beat else 0,
        waiting_executions=beat.waiting_for_s3 if beat else 0,
        problems=tuple(problem[:MAX_PROBLEM] for problem in info.problems[:MAX_PROBLEMS]),
        container_engine=_container_engine(info.container_engine) if info.container_engine else None,
        isolation=_words(info.isolation),
        runtimes=_words(info.runtimes),
        gpus=tuple(
            rest_nodes.GPUView(
                index=each.index,
                name=each.name,
                vendor=each.vendor,
                memory=each.memory,
                pci_address=each.pci_address,
            )
            for each in info.gpus
        ),
    )


def _words(told: Mapping[str, str]) -> dict[str, str]:
    """Untrusted, so within bounds."""
    return {engine[:MAX_WORD]: what[:MAX_WORD] for engine, what in islice(told.items(), MAX_WORDS)}


def _container_engine(engine: ContainerEngine) -> rest_nodes.ContainerEngineView:
    return rest_nodes.ContainerEngineView(
        name=engine.name[:MAX_WORD],
        version=engine.version[:MAX_WORD],
        store=engine.store[:MAX_WORD],
        rootless=engine.rootless,
        isolation=tuple(each[:MAX_WORD] for each in engine.isolation[:MAX_WORDS]),
    )


def _sum(capacities: Iterable[Capacity]) -> Capacity:
    total = Capacity()
    for each in capacities:
        total = total.plus(each)
    return total


def version_view(
    version: str,
    *,
    commit: str = "",
    built: datetime | None = None,
    operating_system: str = "linux",
    architecture: str = "",
) -> rest_nodes.VersionView:
    parts = [*version.split("."), "", ""]
    return rest_nodes.VersionView(
        major=parts[0],
        minor=parts[1],
        git_version=f"v{version}",
        git_commit=commit,
        build_date=f"{built:%Y-%m-%dT%H:%M:%SZ}" if built else rest_nodes.UNKNOWN_DATE,
        goos=operating_system,
        goarch=architecture,
    )
