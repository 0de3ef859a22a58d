"""Files of plain results for users: fresh URLs, for some of them at once."""

from datetime import UTC, datetime, timedelta
from urllib.parse import unquote_to_bytes

from orchestrator.audit.events import ActorKind, AuditEvent
from orchestrator.jobs.results import result_of
from orchestrator.s3.locations import Locations
from orchestrator.s3.signed_events import place, signed_for_reader
from orchestrator.state.model import JobEntry
from shared.errors import InvalidInput, NoResults
from shared.protocol.jobs.rest_files import ResultFilesRequest, ResultFilesResponse
from shared.protocol.objects import is_plain, plain_folder
from shared.protocol.results.object_names import object_name


class ResultIsArchive(NoResults):
    """Files of a result are asked for one by one, and it is one archive."""

    def __init__(self, execution: str) -> None:
        super().__init__(
            f"The result of execution {execution} is an archive, and its files have no URLs of their own.",
            hint="Ask for the URL of the archive.",
        )


async def file_urls(
    entry: JobEntry, locations: Locations, asked: ResultFilesRequest, *, kind: ActorKind, who: str, source: str
) -> tuple[ResultFilesResponse, list[AuditEvent]]:
    """URLs for these files of a result, with what the audit log tells of them.

    Raises NotFound, NoResults, ResultIsArchive, InvalidInput for what can be no file's name, and StorageUnavailable.
    """
    record = result_of(entry, asked.execution_id)
    assert record.location is not None
    if not is_plain(record.location.key):
        raise ResultIsArchive(record.id)
    folder, now = plain_folder(record.location.key), datetime.now(UTC)
    for name in asked.names:
        if not _may_be_file(name):
            raise InvalidInput(f"No file of a result has the name {name[:200]!r}.")
    if asked.refused:
        locations.doubt_credentials()
    bucket = await locations.bucket_of(record.location)
    urls = await bucket.sign_reads((f"{folder}{name}", "", "") for name in asked.names)
    lifetime = urls[0].lifetime_seconds
    expires_at = (now + timedelta(seconds=lifetime)).replace(microsecond=0)
    told = signed_for_reader(
        kind,
        who,
        source,
        job=entry.job.id,
        namespace=entry.job.namespace,
        objects=[(record.id, place(record.location.bucket, folder))],
        urls=len(urls),
        lifetime_seconds=lifetime,
    )
    return ResultFilesResponse(urls=tuple(each.url for each in urls), expires_at=expires_at), told


def _may_be_file(name: str) -> bool:
    try:
        return object_name(unquote_to_bytes(name)) == name
    except ValueError:
        return False
