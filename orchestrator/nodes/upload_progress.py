"""The progress of uploads, by what nodes told last, which is stored nowhere."""

from collections.abc import Iterable

from orchestrator.nodes.presence import Nodes
from orchestrator.rules.records import ExecutionRecord
from shared.jobs.quantities import format_bytes
from shared.jobs.states import ExecutionState
from shared.protocol.messages import UploadProgress
from shared.protocol.rest import UploadView


def upload_of(nodes: Nodes, record: ExecutionRecord) -> UploadView | None:
    """Of an execution whose result has been on its way for a while. Its own node alone is believed about it."""
    present = nodes.presence(record.node_id)
    if record.state is not ExecutionState.PUBLISHING or present is None or present.heartbeat is None:
        return None
    told = next((each for each in present.heartbeat.uploads if each.execution_id == record.id), None)
    return _view(told) if told is not None else None


def _view(told: UploadProgress) -> UploadView:
    return UploadView(done_bytes=told.done_bytes, total_bytes=told.total_bytes, bytes_per_second=told.bytes_per_second)


def together(uploads: Iterable[UploadView]) -> UploadView | None:
    """All of these as one, of which the size is known where that of each is; None where there are none."""
    all_of_them = tuple(uploads)
    if not all_of_them:
        return None
    is_known = all(each.total_bytes for each in all_of_them)
    return UploadView(
        done_bytes=sum(each.done_bytes for each in all_of_them),
        total_bytes=sum(each.total_bytes for each in all_of_them) if is_known else 0,
        bytes_per_second=sum(each.bytes_per_second for each in all_of_them),
    )


def upload_text(upload: UploadView) -> str:
    """Such as `1.2 GiB of 4.0 GiB, 85.0 MiB/s`."""
    of = f" of {format_bytes(upload.total_bytes)}" if upload.total_bytes else ""
    rate = f", {format_bytes(upload.bytes_per_second)}/s" if upload.bytes_per_second else ""
    return f"{format_bytes(upload.done_bytes)}{of}{rate}"
