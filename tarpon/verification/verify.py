"""Verifying the results of a job: what nodes have signed of them, and the objects in the bucket, which are read once.

Nothing is kept of them, and no more than some MiB are in memory.
"""

import tempfile
from collections.abc import Collection, Coroutine, Iterable
from typing import Any

import aiohttp

from shared.errors import Damaged, DigestMismatch, DownloadFailed, NotFound, RemoteError, TarponError, code_of
from shared.extraction.content_check import ContentCheck
from shared.extraction.gunzip import Gunzip
from shared.extraction.tar_reader import Member, MemberKind, TarReader
from shared.protocol.rest import ResultParams
from shared.protocol.rest_nodes import NodeKeysResponse
from shared.protocol.results.provenance import MAX_ENVELOPE_BYTES
from tarpon.archive.contents import opened, walk
from tarpon.archive.manifest import members_with_digests
from tarpon.http.orchestrator_calls import OrchestratorCalls
from tarpon.results.offered import chosen_version, offered, renewer, url_giver
from tarpon.transfer.download import (
    Download,
    Renew,
    Spool,
    archive_download,
    in_thread,
    index_of,
    manifest_of,
    provenance_of,
    record_of,
)
from tarpon.transfer.stored_object import object_session
from tarpon.verification.envelope_check import envelope_problems
from tarpon.verification.record_check import signer_of
from tarpon.verification.views import ResultProblem, ResultsVerification, ResultVerification, VerificationProblem

IN_MEMORY_BYTES = 4 << 20
_NOT_SHOWN = frozenset({"NodeNotFound", "MultipleNodesFound", "Forbidden"})
"""Codes of the orchestrator: such errors come as RemoteError."""


async def verify_results(
    client: OrchestratorCalls,
    job: str,
    *,
    namespace: str = "",
    version: int = 0,
    execution: str = "",
    records_keys: Collection[str] = (),
) -> ResultsVerification:
    """Verify all results of a job, or those of one version or execution.

    Records beside results may be signed by one of the `records_keys`, too, which earlier orchestrators had. What is
    wrong of them is in the answer. Raises what list_files raises of a job without results, and Unavailable.
    """
    view = await chosen_version(client, job, namespace=namespace, version=version, execution=execution)
    found = await offered(client, job, view, namespace=namespace, execution=execution, records=True)
    keys: dict[str, NodeKeysResponse] = {}
    results: list[ResultVerification] = []
    async with object_session(client.trust) as session:
        for params in found:
            if params.node_id not in keys:
                keys[params.node_id] = await _keys_of(client, params.node_id)
            check = _Check(client, session, view.id, params, namespace)
            problems = await check.problems(keys[params.node_id], {params.records_key, *records_keys})
            results.append(ResultVerification.of(params, tuple(problems), check.records_key))
    return ResultsVerification(verified=not any(each.problems for each in results), results=tuple(results))


async def _keys_of(client: OrchestratorCalls, node: str) -> NodeKeysResponse:
    """None of a node that nobody knows any more, and where the caller may not see nodes."""
    try:
        found = await _told_keys(client, node)
    except TarponError as error:
        if code_of(error) not in _NOT_SHOWN:
            raise
        return NodeKeysResponse()
    return found if found.node_id == node else NodeKeysResponse()


async def _told_keys(client: OrchestratorCalls, node: str) -> NodeKeysResponse:
    try:
        return await client.node_keys(node)
    except RemoteError as error:
        if error.remote_code != NotFound.code:
            raise
    found = await client.node(
        node
    )  # of an orchestrator of an earlier version, which knows those of nodes that are there
    return NodeKeysResponse(node_id=found.info.node_id, keys=found.keys)


class _Check:
    """Of one result. `records_key` is afterwards by whose record of it beside it nothing is wrong."""

    def __init__(
        self, client: OrchestratorCalls, session: aiohttp.ClientSession, job: str, params: ResultParams, namespace: str
    ) -> None:
        self._session = session
        self._job = job
        self._params = params
        self.records_key = ""
        self._renew: Renew = renewer(client, job, params, namespace=namespace, records=True)
        self._give_urls = url_giver(client, job, params, namespace=namespace)

    def __repr__(self) -> str:
        return f"<_Check of {self._params!r}>"

    async def problems(self, keys: NodeKeysResponse, records_keys: Collection[str]) -> list[VerificationProblem]:
        found = await self._of_provenance(keys)
        if self._params.record_url:
            found += await self._of_record(records_keys)
        if self._params.is_plain:
            found += await self._held(ResultProblem.RESULT_REPLACED, self._read_plain())
        else:
            reading = _ArchiveReading(self._params)
            archive = archive_download(self._session, self._params, renew=self._renew)
            found += await self._held(ResultProblem.RESULT_REPLACED, archive.into(reading))
            if reading.differs is not None:
                found.append(_problem(ResultProblem.CONTENT_DIFFERS, reading.differs))
        if self._params.manifest_url:
            found += await self._held(ResultProblem.MANIFEST_REPLACED, self._read_manifest())
        if self._params.index_url:
            found += await self._held(ResultProblem.INDEX_REPLACED, self._read_index())
        return found

    async def _of_provenance(self, keys: NodeKeysResponse) -> list[VerificationProblem]:
        params = self._params
        if not params.provenance_url:
            told = f"Nothing that a node has signed of execution {params.execution_id} was recorded."
            return [VerificationProblem(code=ResultProblem.PROVENANCE_MISSING.value, message=told)]
        envelope = _Envelope(f"The provenance of execution {params.execution_id}")
        source = provenance_of(self._session, params, renew=self._renew)
        try:
            await Download(source, sha256="").into(envelope)
        except DownloadFailed as error:
            return [_problem(ResultProblem.OBJECT_UNREADABLE, error)]
        except Damaged as error:
            return [_problem(ResultProblem.PROVENANCE_REPLACED, error)]
        return list(
            envelope_problems(bytes(envelope.content), params, self._job, keys.keys, forgotten=keys.forgotten_until)
        )

    async def _of_record(self, keys: Collection[str]) -> list[VerificationProblem]:
        """Nothing where there is none, which S3 does not always tell from what may not be read."""
        envelope = _Envelope(f"The record of execution {self._params.execution_id}")
        try:
            await Download(record_of(self._session, self._params, renew=self._renew), sha256="").into(envelope)
            self.records_key = signer_of(bytes(envelope.content), self._params, self._job, keys)
        except DownloadFailed:
            pass
        except Damaged as error:
            return [_problem(ResultProblem.RECORD_WRONG, error)]
        return []

    async def _held(self, code: ResultProblem, reading: Coroutine[Any, Any, None]) -> list[VerificationProblem]:
        """What is wrong of an object that is read."""
        try:
            await reading
        except DownloadFailed as error:
            return [_problem(ResultProblem.OBJECT_UNREADABLE, error)]
        except Damaged as error:
            return [_problem(code, error)]
        return []

    async def _read_plain(self) -> None:
        """Its manifest, and each file, which is held to the digest there."""
        async with opened(self._session, self._params, renew=self._renew, give_urls=self._give_urls) as contents:
            files: list[Member] = []
            await walk(contents, lambda member: files.append(member) if member.kind is MemberKind.FILE else None)
            await contents.read(files, lambda _event: None, lambda _done, _total: None)

    async def _read_manifest(self) -> None:
        params = self._params
        with tempfile.SpooledTemporaryFile(IN_MEMORY_BYTES) as manifest:
            source = manifest_of(self._session, params, renew=self._renew)
            await Download(source, sha256=params.manifest_sha256).into(Spool(manifest))
            await in_thread(lambda: _exhaust(members_with_digests(manifest, params)))

    async def _read_index(self) -> None:
        index = index_of(self._session, self._params, renew=self._renew)
        await Download(index, sha256=self._params.index_sha256).into(_Nowhere())


class _ArchiveReading:
    """A sink that unpacks an archive in memory, piece by piece, and compares its content with its digest.

    `differs` is how that is another one, though the archive is the one that was sent.
    """

    def __init__(self, params: ResultParams) -> None:
        self.differs: DigestMismatch | None = None
        self._gunzip = Gunzip()
        self._reader = TarReader()
        self._has_digest = bool(params.content_digest)
        self._check = ContentCheck(params.content_digest, f"the result of execution {params.execution_id}")

    def feed(self, data: bytes) -> None:
        for tar in self._gunzip.feed(data):
            self._check.take(list(self._reader.feed(tar)))

    def close(self) -> None:
        self._gunzip.close()
        self._reader.close()
        try:
            if self._has_digest:
                self._check.finish()
        except DigestMismatch as error:
            self.differs = error

    def abort(self) -> None:
        pass


class _Envelope:
    """A sink that takes no more than an envelope has at most."""

    def __init__(self, what: str) -> None:
        self.content = bytearray()
        self._what = what

    def feed(self, data: bytes) -> None:
        self.content += data
        if len(self.content) > MAX_ENVELOPE_BYTES:
            raise Damaged(f"{self._what} has more than {MAX_ENVELOPE_BYTES:,} bytes, which none of them has.")

    def close(self) -> None:
        pass

    def abort(self) -> None:
        pass


class _Nowhere:
    """A sink for what is only held to its digest."""

    def feed(self, data: bytes) -> None:
        pass

    def close(self) -> None:
        pass

    def abort(self) -> None:
        pass


def _exhaust(entries: Iterable[object]) -> None:
    for _ in entries:
        pass


def _problem(code: ResultProblem, error: DownloadFailed | Damaged) -> VerificationProblem:
    return VerificationProblem(code=code.value, message=error.message, hint=error.hint)
