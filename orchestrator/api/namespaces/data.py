"""Sent data in the HTTP API: what people send for the inputs of jobs goes to the bucket by URLs that are given here."""

from aiohttp import web

from orchestrator.api.access.auditing import source_of, tell
from orchestrator.api.bodies import answer, body_of, query_of
from orchestrator.api.queries import DataFilesQuery, DataQuery
from orchestrator.api.routes import DATA, Route, principal_of
from orchestrator.assembly import Assembly
from orchestrator.audit.events import SIGN, AuditEvent
from orchestrator.rules.records import DataRecord
from orchestrator.s3.signed_events import place
from shared.protocol.capabilities import READ_DATA, WRITE_DATA
from shared.protocol.namespaces.rest_data import (
    CompleteFileRequest,
    CompleteFileResponse,
    DataFilesResponse,
    DataResponse,
    DataView,
    DeleteDataResponse,
    FilePartsRequest,
    FilePartsResponse,
    FinishDataResponse,
    ListDataResponse,
    MissingRequest,
    MissingResponse,
    PutDataRequest,
    PutDataResponse,
)
from shared.protocol.objects import content_key

MOST_FILES = 500
ONE = f"{DATA}/{{data}}"


class DataRoutes:
    def __init__(self, assembly: Assembly) -> None:
        self._audit = assembly.audit
        self._lifetime_seconds = int(assembly.config.publishers.types.s3managed.presigned_url_expiration)
        self._records = assembly.data.records
        self._contents = assembly.data.contents
        self._parts = assembly.data.parts

    def routes(self) -> tuple[Route, ...]:
        return (*self._reading(), *self._sending())

    def _reading(self) -> tuple[Route, ...]:
        return (
            Route(
                *("GET", DATA, self.list_data, "The data that was sent to a namespace."),
                ListDataResponse,
                DataQuery,
                needs=READ_DATA,
            ),
            Route("GET", ONE, self.get_data, "What is known of data.", DataResponse, DataQuery, needs=READ_DATA),
            Route(
                *("GET", f"{ONE}/files", self.get_data_files, "Its files, with URLs to read them by."),
                DataFilesResponse,
                DataFilesQuery,
                needs=READ_DATA,
            ),
            Route(
                *("DELETE", ONE, self.delete_data, "Delete data, or one of several names of it."),
                DeleteDataResponse,
                DataQuery,
                needs=WRITE_DATA,
            ),
        )

    def _sending(self) -> tuple[Route, ...]:
        return (
            Route(
                *("PUT", ONE, self.put_data, "Begin to send data, which its digest names."),
                PutDataResponse,
                DataQuery,
                PutDataRequest,
                needs=WRITE_DATA,
            ),
            Route(
                *(
                    "PUT",
                    f"{ONE}/missing",
                    self.put_data_missing,
                    "Which contents are missing, with URLs to send them.",
                ),
                MissingResponse,
                DataQuery,
                MissingRequest,
                needs=WRITE_DATA,
            ),
            Route(
                *("PUT", f"{ONE}/parts", self.put_data_parts, "URLs to send a large file in parts."),
                FilePartsResponse,
                DataQuery,
                FilePartsRequest,
                needs=WRITE_DATA,
            ),
            Route(
                *("PUT", f"{ONE}/complete", self.complete_data_file, "Make the parts one file."),
                CompleteFileResponse,
                DataQuery,
                CompleteFileRequest,
                needs=WRITE_DATA,
            ),
            Route(
                *("PUT", f"{ONE}/finish", self.finish_data, "Have all that was sent checked, so that jobs can use it."),
                FinishDataResponse,
                DataQuery,
                needs=WRITE_DATA,
            ),
        )

    async def list_data(self, request: web.Request) -> web.Response:
        namespace = _namespace(request)
        found = self._records.of(namespace)
        return answer(
            ListDataResponse(
                data=tuple(map(self._view, found)),
                size_bytes=self._records.used_bytes(namespace),
                quota_bytes=self._records.quota_bytes,
            )
        )

    async def get_data(self, request: web.Request) -> web.Response:
        return answer(DataResponse(data=self._view(self._found(request))))

    async def get_data_files(self, request: web.Request) -> web.Response:
        record = self._records.ready(_namespace(request), request.match_info["data"])
        query = query_of(request, DataFilesQuery)
        count = min(query.limit or MOST_FILES, MOST_FILES)
        files, following = await self._contents.files(record, query.first, count)
        await self._signed(request, record, "data files", "GET", first=query.first, count=len(files))
        return answer(DataFilesResponse(data=self._view(record), files=files, next=following))

    async def delete_data(self, request: web.Request) -> web.Response:
        namespace = _namespace(request)
        record, is_deleted = await self._records.delete(namespace, request.match_info["data"])
        return answer(DeleteDataResponse(digest=f"sha256:{record.digest}", namespace=namespace, deleted=is_deleted))

    async def put_data(self, request: web.Request) -> web.Response:
        namespace = _namespace(request)
        wanted, _ = await body_of(request, PutDataRequest)
        record = await self._records.begin(namespace, request.match_info["data"], wanted)
        manifest = None if record.is_ready else await self._contents.sign_manifest(record)
        if manifest is not None:
            await self._signed(request, record, "data manifest", "PUT", count=1)
        return answer(PutDataResponse(data=self._view(record), manifest=manifest))

    async def put_data_missing(self, request: web.Request) -> web.Response:
        record = await self._being_sent(request)
        wanted, _ = await body_of(request, MissingRequest, optional=True)
        found = await self._contents.missing(record, wanted.first)
        count = sum(each.put is not None for each in found.missing)
        await self._signed(request, record, "data contents", "PUT", first=wanted.first, count=count)
        return answer(found)

    async def put_data_parts(self, request: web.Request) -> web.Response:
        record = await self._being_sent(request)
        wanted, _ = await body_of(request, FilePartsRequest)
        found = await self._parts.parts(record, wanted)
        content, count = wanted.sha256, len(found.parts)
        await self._signed(request, record, "data parts", "PUT", first=wanted.first, count=count, content=content)
        return answer(found)

    async def complete_data_file(self, request: web.Request) -> web.Response:
        record = await self._being_sent(request)
        wanted, _ = await body_of(request, CompleteFileRequest)
        return answer(await self._parts.complete(record, wanted.sha256, wanted.upload_id, wanted.etags))

    async def finish_data(self, request: web.Request) -> web.Response:
        found = await self._contents.finish(await self._being_sent(request))
        return answer(FinishDataResponse(data=self._view(found.record), missing=found.missing, checked=found.checked))

    async def _signed(
        self,
        request: web.Request,
        record: DataRecord,
        operation: str,
        method: str,
        *,
        count: int,
        first: int = 0,
        content: str = "",
    ) -> None:
        """Have URLs written to the audit log before they are given. The manifest says which contents they are."""
        if not count:
            return
        who, location = principal_of(request), record.location
        await self._audit.record(
            AuditEvent(
                kind=who.kind,
                who=who.name,
                source=source_of(request),
                action=SIGN,
                operation=operation,
                object=place(location.bucket, content_key(location.key, content) if content else location.key),
                namespace=record.namespace,
                method=method,
                first=max(0, first),
                count=count,
                lifetime_seconds=self._lifetime_seconds,
            )
        )

    async def _being_sent(self, request: web.Request) -> DataRecord:
        """What takes longer than data is kept that nobody goes on with is noted to be in use."""
        return await self._records.used(self._found(request))

    def _found(self, request: web.Request) -> DataRecord:
        return self._records.find(_namespace(request), request.match_info["data"])

    def _view(self, record: DataRecord) -> DataView:
        max_age_ns = self._records.max_age_ns
        return DataView(
            digest=f"sha256:{record.digest}",
            names=tuple(sorted(record.names)),
            namespace=record.namespace,
            ready=record.is_ready,
            files=record.files,
            size_bytes=record.size_bytes,
            create_time=record.create_time,
            last_use=record.last_use,
            expire_time=record.last_use + max_age_ns if max_age_ns else 0,
        )


def _namespace(request: web.Request) -> str:
    """The one that is named or meant. Raises NamespaceForbidden."""
    principal = principal_of(request)
    namespace = principal.meant(query_of(request, DataQuery).namespace)
    principal.check_namespace(namespace)
    tell(request, request.match_info.get("data", ""), namespace)
    return namespace
