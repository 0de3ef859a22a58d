"""Calls about data for the inputs of jobs, one request each."""

from urllib.parse import quote

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
from tarpon.http.calls import Calls

DATA = "/orchestrator/data"


class DataCalls:
    """The part of `tarpon.Client` that is about sent data; `put_data` and `get_data` do the whole of it."""

    _calls: Calls

    async def list_data(self, *, namespace: str = "") -> ListDataResponse:
        """The data that was sent to a namespace, the newest first, and how much there may be."""
        return await self._calls.call("GET", DATA, ListDataResponse, query=_query(namespace))

    async def data(self, data: str, *, namespace: str = "") -> DataView:
        """What is known of data, by its name, its digest, or the beginning of that."""
        return (await self._calls.call("GET", _path(data), DataResponse, query=_query(namespace))).data

    async def delete_data(self, data: str, *, namespace: str = "") -> DeleteDataResponse:
        """Delete data, or, where it is named and has other names, this name alone. Jobs that read it still can."""
        return await self._calls.call("DELETE", _path(data), DeleteDataResponse, query=_query(namespace))

    async def data_files(self, data: str, *, first: int = 0, namespace: str = "") -> DataFilesResponse:
        """Some of its files with signed URLs, from number `first` on."""
        query = _query(namespace) | ({"first": str(first)} if first else {})
        return await self._calls.call("GET", _path(data, "/files"), DataFilesResponse, query=query)

    async def begin_data(self, digest: str, wanted: PutDataRequest, *, namespace: str) -> PutDataResponse:
        return await self._calls.call("PUT", _path(digest), PutDataResponse, query=_query(namespace), body=wanted)

    async def missing_data(self, digest: str, first: int, *, namespace: str) -> MissingResponse:
        path, body = _path(digest, "/missing"), MissingRequest(first=first)
        return await self._calls.call("PUT", path, MissingResponse, query=_query(namespace), body=body)

    async def data_parts(self, digest: str, wanted: FilePartsRequest, *, namespace: str) -> FilePartsResponse:
        path = _path(digest, "/parts")
        return await self._calls.call("PUT", path, FilePartsResponse, query=_query(namespace), body=wanted)

    async def complete_data_file(
        self, digest: str, wanted: CompleteFileRequest, *, namespace: str
    ) -> CompleteFileResponse:
        path = _path(digest, "/complete")
        return await self._calls.call("PUT", path, CompleteFileResponse, query=_query(namespace), body=wanted)

    async def finish_data(self, digest: str, *, namespace: str) -> FinishDataResponse:
        return await self._calls.call("PUT", _path(digest, "/finish"), FinishDataResponse, query=_query(namespace))


def _path(data: str, below: str = "") -> str:
    return f"{DATA}/{quote(data, safe='')}{below}"


def _query(namespace: str) -> dict[str, str]:
    return {"namespace": namespace} if namespace else {}
