"""The upload of a result folder: packed part by part, sent while the next parts are packed.

An archive that fits in one part goes out with a single PUT, by the URL that came with the assignment; a larger one is
an S3 multipart upload. No byte of it touches the disk.
"""

import asyncio
import base64
import hashlib
import logging
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from msgspec.structs import replace

from compute.archive.index import ArchiveIndex
from compute.archive.levels import NOTHING_TOLD, Levels
from compute.archive.line_file import LineFile
from compute.archive.manifest import ContentManifest
from compute.archive.part_size import content_bytes, part_bytes_of
from compute.archive.small import SmallArchive
from compute.archive.stream import ArchiveStream, Part
from compute.disk.result_contents import ALL, ResultContents
from compute.upload.delivery import LONGEST_PAUSE_SECONDS, Delivery, Trouble
from compute.upload.grants import ExecutionGrants, UploadIsLost, Urls
from compute.upload.journal import UploadJournal
from compute.upload.meter import TOLD_AFTER_SECONDS, UploadMeter
from compute.upload.multipart import MultipartUpload, PartRefused, TooLarge
from compute.upload.put import Content, Stored
from compute.upload.shared_limits import SharedLimits
from compute.upload.short_put import LEAST_SECONDS, SHORT_BYTES, put_soon
from shared.errors import GrantRefused
from shared.ids import ExecutionId
from shared.jobs.quantities import format_bytes
from shared.jobs.states import FailureReason
from shared.protocol.objects import Beside
from shared.protocol.published_facts import PublishedFacts
from shared.protocol.results.content_manifest import MAX_MANIFEST_BYTES
from shared.protocol.s3_errors import S3Failure, UploadAction, action_for
from shared.protocol.signed_url import Grant
from shared.runtime.aio import background
from shared.runtime.backoff import Backoff
from shared.runtime.log_lines import about

_log = logging.getLogger(__name__)

T = TypeVar("T")

Sign = Callable[[PublishedFacts, str], bytes]

MAX_BEGINNINGS = 8
"""S3 may have lost an upload, for example by a life-cycle rule while the node was away.

It may also say that something was in the way of its completion: then the next one, a little later, may well succeed.
"""


@dataclass(frozen=True, kw_only=True)
class Sent:
    """The object is in the bucket, or S3 says that one is there already, which the orchestrator then compares."""

    facts: PublishedFacts
    was_there: bool = False
    manifest_md5: str = ""
    provenance: bytes = b""


class NotWhole(Exception):
    """The archive lacks what the task wrote, and the job wants all of it or nothing."""

    def __init__(self, lacking: int, warnings: tuple[str, ...]) -> None:
        super().__init__(
            f"{lacking} entries of the result could not be archived as the task wrote them, and the job says"
            f" `OnUnreadable: fail`. {'; '.join(warnings[:3])}"
        )


@dataclass(frozen=True, kw_only=True)
class NotSent:
    reason: FailureReason
    detail: str


class Upload:
    """The way of one result to the bucket. It never gives up because of time: the caller sets the deadline.

    `root` is what is packed, of which the `contents` count, unless it is `packed`. `scratch` is the folder of the
    execution, for what has to outlive this process. With `must_be_whole` nothing is sent of a result that lacks
    anything, in its archive or already before, as `lacking` says. `sign` gives the provenance of the result of these
    facts with a manifest of that SHA-256; nothing where none is wanted.
    `on_waiting` is told why, when the result has not got on for a while.
    """

    def __init__(
        self,
        execution_id: ExecutionId,
        root: Path,
        scratch: Path,
        grants: ExecutionGrants,
        uploading: SharedLimits,
        *,
        contents: ResultContents = ALL,
        packed: SmallArchive | None = None,
        must_be_whole: bool = False,
        lacking: int = 0,
        on_waiting: Callable[[str], None] = lambda _: None,
        sign: Sign = lambda _facts, _manifest: b"",
    ) -> None:
        self._sign = sign
        self.trouble = grants.watcher = Trouble(on_waiting, uploading.queued, uploading.totals)
        self.meter = UploadMeter()
        self._execution_id = execution_id
        self._root = root
        self._scratch = scratch
        self._contents = contents
        self._packed = packed
        self._must_be_whole = must_be_whole
        self._lacking = lacking
        self._grants = grants
        self._uploading = uploading

    def __repr__(self) -> str:
        return f"<Upload of {self._execution_id}: {self.trouble!r}>"

    @property
    def last_problem(self) -> str:
        return self.trouble.problem or self._grants.last_problem

    async def run(self) -> Sent | NotSent:
        try:
            return await self._run()
        finally:
            self.trouble.end()
            self._packed = None  # makes room for another result, while this is kept for what it tells

    async def _run(self) -> Sent | NotSent:
        lost = ""
        pauses = Backoff(self._uploading.first_pause_seconds, LONGEST_PAUSE_SECONDS)
        try:
            for _ in range(MAX_BEGINNINGS):
                try:
                    return await self._pack_and_send(lost)
                except UploadIsLost as error:
                    told = "Execution %s: its upload is lost and begins anew: %s"
                    _log.warning(told, self._execution_id, error, extra=about(execution=self._execution_id))
                    lost = error.upload_id
                    await pauses.pause()
        except PartRefused as refusal:
            return NotSent(reason=FailureReason.PUBLISH_REFUSED, detail=f"S3 refused the result: {refusal}")
        except TooLarge as error:
            limit = format_bytes(self._uploading.limit_bytes)
            detail = str(error) or f"The result is larger than this node's limit of {limit} for one result."
            return NotSent(reason=FailureReason.RESULT_TOO_LARGE, detail=detail)
        except NotWhole as lack:
            return NotSent(reason=FailureReason.RESULT_NOT_WHOLE, detail=str(lack))
        except GrantRefused as refusal:
            detail = f"The orchestrator gives no URL for the upload: {refusal.message}"
            return NotSent(reason=FailureReason.PUBLISH_REFUSED, detail=detail)
        except OSError as error:
            return NotSent(reason=FailureReason.RESULT_UNREADABLE, detail=f"The result cannot be read: {error}")
        detail = f"S3 loses the upload again and again. {self.last_problem}".rstrip()
        return NotSent(reason=FailureReason.PUBLISH_REFUSED, detail=detail)

    async def _pack_and_send(self, lost: str) -> Sent:
        shared = self._uploading
        if self._packed is not None:
            async with shared.turn(self.trouble, is_small=True):
                return await self._send_packed(self._packed)
        journal = UploadJournal(self._scratch)
        before = await asyncio.to_thread(journal.read)
        archive_stream = ArchiveStream(
            self._root,
            shared.threads,
            part_bytes=shared.part_bytes,
            scratch=self._scratch,
            contents=self._contents,
            levels=Levels(
                shared.threads.level,
                told=before.levels if before is not None else NOTHING_TOLD,
                sent=(lambda: self.meter.sent_bytes) if shared.adapts else None,
            ),
        )
        async with shared.turn(self.trouble), shared.buffers() as buffers, archive_stream as archive:
            await buffers.take()
            first = await anext(archive)
            if first.is_last:
                return await self._send_whole(archive, first)
            part_bytes = await self._part_bytes()
            if part_bytes > shared.part_bytes:
                first = await archive.enlarge(first, part_bytes)
            upload = MultipartUpload(
                archive,
                self._grants,
                self._deliver_metered,
                buffers,
                journal=journal,
                before=before,
                part_bytes=part_bytes,
                limit_bytes=shared.limit_bytes,
                meter=self.meter,
            )
            return await self._send_in_parts(archive, upload, first, lost)

    async def _send_packed(self, packed: SmallArchive) -> Sent:
        self._check_size(packed.content)
        self._check_whole(packed.summary)
        self._begin_to_send(packed.summary)
        was_there, beside = await self._with_beside(
            packed.summary, self._put_whole(packed.content, packed.md5), packed.manifest, index=None
        )
        return beside.sent(replace(packed.summary, md5=packed.md5.hex()), was_there=was_there)

    async def _send_whole(self, archive: ArchiveStream, part: Part) -> Sent:
        self._check_size(part.content)
        self._check_whole(archive.summary)
        self._begin_to_send(archive.summary)
        md5 = await part.md5()
        was_there, beside = await self._with_beside(
            archive.summary, self._put_whole(part.content, md5), archive.manifest, archive.index
        )
        return beside.sent(replace(archive.summary, md5=md5.hex()), was_there=was_there)

    def _begin_to_send(self, whole: PublishedFacts) -> None:
        self.meter.begin(lambda: (whole.raw_bytes, whole.size_bytes), whole.raw_bytes)

    def _check_whole(self, facts: PublishedFacts) -> None:
        lacking = self._lacking + facts.left_out_count
        if self._must_be_whole and lacking:
            raise NotWhole(lacking, facts.warnings)

    def _check_size(self, content: memoryview) -> None:
        if len(content) > self._uploading.limit_bytes:
            raise TooLarge

    async def _put_whole(self, content: memoryview, md5: bytes) -> bool:
        """Whether an object was there, so that this one was not taken; it may be this one, sent before."""
        answer = await self._deliver_metered(content, md5, self._grants)
        if isinstance(answer, S3Failure) and action_for(answer) is not UploadAction.SETTLE:
            raise PartRefused(str(answer))
        return isinstance(answer, S3Failure)

    async def _part_bytes(self) -> int:
        """One size for all parts, by which there are not too many."""
        shared = self._uploading
        wanted = await part_bytes_of(
            self._root, limit_bytes=shared.limit_bytes, copies_links=self._contents.copies_links
        )
        return max(shared.part_bytes, wanted)

    async def _send_in_parts(self, archive: ArchiveStream, upload: MultipartUpload, first: Part, lost: str) -> Sent:
        self.meter.begin(lambda: archive.packed)
        async with background(measuring=self._measure()):
            await upload.send(first, lost)
        self._check_whole(archive.summary)
        _, beside = await self._with_beside(archive.summary, upload.complete(), archive.manifest, archive.index)
        return beside.sent(replace(archive.summary, md5=upload.md5, parts=upload.parts))

    async def _measure(self) -> None:
        """How much there is, once the upload goes on for long: for others that would be as much work again."""
        await asyncio.sleep(TOLD_AFTER_SECONDS)
        with suppress(OSError):
            self.meter.total_bytes = await asyncio.to_thread(content_bytes, self._root)

    async def _with_beside(
        self,
        facts: PublishedFacts,
        archive: Coroutine[Any, Any, T],
        manifest: ContentManifest,
        index: ArchiveIndex | None,
    ) -> tuple[T, "_SentBeside"]:
        """Do what makes the archive of these facts an object, and send meanwhile what lies beside it.

        What came of all.
        """
        provenance = self._sign(facts, manifest.sha256)
        try:
            async with asyncio.TaskGroup() as group:
                made = group.create_task(archive, name="archive")
                manifest_sent = group.create_task(self._put_manifest(manifest), name="manifest")
                index_sent = group.create_task(self._put_index(index), name="index") if index is not None else None
                signed = group.create_task(self._put_provenance(provenance), name="provenance")
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None  # one reason is enough
        sent = _SentBeside(
            manifest if manifest_sent.result() else None,
            index if index_sent is not None and index_sent.result() else None,
            signed.result(),
        )
        return made.result(), sent

    async def _put_index(self, index: ArchiveIndex) -> bool:
        return await self._put_beside("index", index, self._grants.index)

    async def _put_manifest(self, manifest: ContentManifest) -> bool:
        if manifest.size_bytes > MAX_MANIFEST_BYTES:
            return self._without("manifest", f"it has more than {format_bytes(MAX_MANIFEST_BYTES)}")
        return await self._put_beside("manifest", manifest, self._grants.beside(Beside.MANIFEST))

    async def _put_provenance(self, envelope: bytes) -> bytes:
        """What lies beside the result then."""
        md5 = hashlib.md5(envelope, usedforsecurity=False).digest()
        urls = self._grants.beside(Beside.PROVENANCE)
        return envelope if envelope and await self._put_object("provenance", memoryview(envelope), md5, urls) else b""

    async def _put_beside(self, what: str, lines: LineFile, urls: Urls) -> bool:
        if lines.problem is not None:
            return self._without(what, f"the disk of the node would not take it: {lines.problem.strerror}")
        with lines.content() as content:
            return await self._put_object(what, content, lines.md5, urls)

    async def _put_object(self, what: str, content: Content, md5: bytes, urls: Urls) -> bool:
        """Whether it is there. A result without it is better than none, so a refusal only means that."""
        if isinstance(content, memoryview) and await self._sent_soon(content, md5, urls.current):
            return True
        try:
            answer = await self._deliver(content, md5, urls)
        except GrantRefused as refusal:
            return self._without(what, refusal.message)
        return isinstance(answer, Stored) or self._without(what, f"S3 answered {answer}")

    async def _sent_soon(self, content: memoryview, md5: bytes, grant: Grant | None) -> bool:
        if grant is None or len(content) > SHORT_BYTES or grant.remaining_seconds() < LEAST_SECONDS:
            return False
        headers = {"content-length": str(len(content)), "content-md5": base64.b64encode(md5).decode("ascii")}
        return 200 <= await put_soon(self._uploading.short, grant.url, content, headers) < 300

    def _without(self, what: str, why: str) -> bool:
        told = "Execution %s has no %s: %s"
        _log.warning(told, self._execution_id, what, why, extra=about(execution=self._execution_id))
        return False

    async def _deliver_metered(self, content: Content, md5: bytes, urls: Urls) -> Stored | S3Failure:
        return await self._deliver(content, md5, urls, self.meter)

    async def _deliver(
        self, content: Content, md5: bytes, urls: Urls, meter: UploadMeter | None = None
    ) -> Stored | S3Failure:
        shared = self._uploading
        delivery = Delivery(
            self._execution_id,
            content,
            md5,
            urls,
            http=shared.http,
            pace=shared.pace,
            trouble=self.trouble,
            meter=meter,
            first_pause_seconds=shared.first_pause_seconds,
        )
        return await delivery.run()


@dataclass(frozen=True)
class _SentBeside:
    """What lies beside the archive; None is what does not."""

    manifest: ContentManifest | None
    index: ArchiveIndex | None
    provenance: bytes

    def sent(self, facts: PublishedFacts, *, was_there: bool = False) -> Sent:
        """The archive of these facts with them."""
        md5 = ""
        if self.manifest is not None:
            facts = replace(facts, manifest_bytes=self.manifest.size_bytes, manifest_sha256=self.manifest.sha256)
            md5 = self.manifest.md5.hex()
        if self.index is not None:
            facts = replace(facts, index_bytes=self.index.size_bytes, index_sha256=self.index.sha256)
        return Sent(facts=facts, was_there=was_there, manifest_md5=md5, provenance=self.provenance)
