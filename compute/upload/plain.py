"""The upload of a plain result: an object for each file, many at once, and the manifest after all of them.

The result is there when its manifest is. Small files go over connections that are kept, one request each; whatever does
not go as usual is left to a Delivery, which has the patience for it.
"""

import asyncio
import base64
import time

from compute.archive.content_stream import KEPT_BYTES, ContentStream, FoundEntry
from compute.archive.manifest import ContentManifest
from compute.archive.stream import CLOSE_SECONDS
from compute.upload.file_content import FileContent
from compute.upload.file_journal import FileJournal
from compute.upload.grants import FileUrls
from compute.upload.multipart import PartRefused, TooLarge
from compute.upload.put import Content
from compute.upload.shared_limits import PartBuffers
from compute.upload.short_put import LEAST_SECONDS, SHORT_BYTES, put_soon
from compute.upload.upload import Sent, Upload
from shared.jobs.quantities import format_bytes
from shared.protocol.messages import FilesBegun, FileToSend
from shared.protocol.published_facts import PublishedFacts
from shared.protocol.results.content_manifest import MAX_MANIFEST_BYTES, MOST_ENTRIES, MOST_PUT_BYTES, ManifestFile
from shared.protocol.results.object_names import object_name
from shared.protocol.s3_errors import S3Failure, UploadAction, action_for
from shared.protocol.signed_url import Grant
from shared.runtime.aio import finish, pipelined

BATCH_FILES = 256
AT_ONCE = 32
"""Files of one batch; all batches of a node together have the connections of its SharedLimits."""
_THERE_ALREADY = 412


class _File:
    """What is to be sent of one file. `is_new` unless S3 took it before this process."""

    def __init__(self, found: FoundEntry, entry: ManifestFile) -> None:
        self.entry = entry
        self.content = found.content
        self.to_send = FileToSend(object_name(entry.name), entry.size, base64.b64encode(found.md5).decode())

    def __repr__(self) -> str:
        return f"<_File {self.entry.shown!r}>"


class _Batches:
    """The synchronous side: one call reads so many files and writes them into the manifest, in whatever thread."""

    def __init__(self, stream: ContentStream, manifest: ContentManifest, may: FilesBegun, limit_bytes: int) -> None:
        self.files = 0
        self._stream = stream
        self._manifest = manifest
        self._may = may
        self._limit_bytes = limit_bytes
        self._entries = stream.entries()

    def __repr__(self) -> str:
        return f"<_Batches, {self.files} files so far>"

    def next(self) -> list[_File] | None:
        """None at the end. Raises TooLarge, and OSError where the root cannot be read."""
        entries, files, kept_bytes = [], list[_File](), 0
        for found in self._entries:
            entries.append(found.entry)
            if isinstance(found.entry, ManifestFile):
                files.append(self._checked(_File(found, found.entry)))
                kept_bytes += found.kept_bytes
            is_large = isinstance(found.entry, ManifestFile) and found.content is None
            if is_large or len(entries) >= BATCH_FILES or kept_bytes >= KEPT_BYTES:
                break
        self._manifest.add(entries)
        self._check_sizes()
        return files if entries else None

    def stop(self) -> None:
        """Have the call that goes on end soon; what it gives is worth nothing."""
        self._stream.stopping = True

    def close(self) -> None:
        """When no call goes on."""
        self._entries.close()

    def _checked(self, file: _File) -> _File:
        self.files += 1
        if self.files > self._may.most_files:
            raise TooLarge(
                f"The result has more than {self._may.most_files:,} files, which is the most that `Encoding: plain` may"
                " have here (Publishers.Types.S3Managed.MostFiles). Write fewer ones, or leave `Encoding` out."
            )
        if file.entry.size > MOST_PUT_BYTES:
            raise TooLarge(
                f"{file.entry.shown[:200]!r} has more than {format_bytes(MOST_PUT_BYTES)}, which is the most that an"
                " object of `Encoding: plain` may have. Leave `Encoding` out."
            )
        if len(file.to_send.key.encode()) > self._may.most_key_bytes:
            raise TooLarge(
                f"The path {file.entry.shown[:200]!r} is too long for the key of an object. Shorten it, or leave"
                " `Encoding: plain` out."
            )
        return file

    def _check_sizes(self) -> None:
        manifest = self._manifest
        if manifest.problem is not None:
            raise manifest.problem
        if manifest.content_bytes > self._limit_bytes:
            raise TooLarge
        if manifest.entries > MOST_ENTRIES:
            raise TooLarge(f"The result has more than {MOST_ENTRIES:,} files, folders and links. Write fewer ones.")
        if manifest.size_bytes > MAX_MANIFEST_BYTES:
            limit = format_bytes(MAX_MANIFEST_BYTES)
            raise TooLarge(
                f"The manifest of the result has more than {limit}: its files are too many or named too long."
            )


class PlainUpload(Upload):
    """The way of one plain result to the bucket; else as an Upload."""

    async def _pack_and_send(self, lost: str) -> Sent:  # noqa: ARG002  # nothing of it is lost
        begun, shared = time.monotonic(), self._uploading
        self._was_there = False
        may = await self._grants.begin_files()
        self._journal = FileJournal(self._scratch)
        await asyncio.to_thread(self._journal.read)
        manifest = await asyncio.to_thread(ContentManifest, self._scratch)
        stream = ContentStream(self._root, self._contents)
        batches = _Batches(stream, manifest, may, shared.limit_bytes)
        self.meter.begin(lambda: (manifest.content_bytes, manifest.content_bytes))
        try:
            async with shared.turn(self.trouble), shared.buffers() as buffers:
                await self._send_all(batches, buffers)
                await asyncio.to_thread(manifest.finish)
                facts = _facts(stream, manifest, seconds=time.monotonic() - begun)
                self._check_whole(facts)
                with manifest.content() as content:
                    was_there = await self._put_whole(content, manifest.md5)
                provenance = await self._put_provenance(self._sign(facts, ""))
            return Sent(facts=facts, was_there=was_there or self._was_there, provenance=provenance)
        finally:
            await asyncio.to_thread(batches.close)
            await asyncio.to_thread(manifest.close)

    async def _send_all(self, batches: _Batches, buffers: PartBuffers) -> None:
        """A batch is read when there is memory for it, while others are sent."""
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    await buffers.take()
                    batch = await self._next(batches)
                    if batch is None:
                        break
                    group.create_task(self._send_batch(batch, buffers), name="files")
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None  # one reason is enough

    async def _next(self, batches: _Batches) -> list[_File] | None:
        makers = self._uploading.threads.makers
        reading = asyncio.get_running_loop().run_in_executor(makers, batches.next)
        try:
            # Shielded, because cancelling the future would lose sight of its thread.
            return await asyncio.shield(reading)
        except asyncio.CancelledError:
            batches.stop()
            await finish(asyncio.wait([reading]), within=CLOSE_SECONDS)
            if not reading.cancelled():
                reading.exception()  # marks it as retrieved
            raise

    async def _send_batch(self, batch: list[_File], buffers: PartBuffers) -> None:
        has = self._journal.has
        new = [file for file in batch if not has(file.to_send.key, file.entry.sha256)]
        if new:
            grants = await self._grants.files([file.to_send for file in new])
            await pipelined(zip(new, grants, strict=True), self._send_one, at_once=AT_ONCE)
            sent = [(file.to_send.key, file.entry.sha256) for file in new]
            await asyncio.to_thread(self._journal.add, sent)
        buffers.give_back()

    async def _send_one(self, granted: tuple[_File, Grant]) -> None:
        file, grant = granted
        content, size = file.content, file.entry.size
        if content is not None and size <= SHORT_BYTES and grant.remaining_seconds() > LEAST_SECONDS:
            status = await put_soon(self._uploading.short, grant.url, content)
            if status == _THERE_ALREADY:
                self._was_there = True
                return
            if 200 <= status < 300:
                self.trouble.stored(size)
                self.meter.stored(size)
                return
            self.trouble.retried()
        body: Content = FileContent(self._root, file.entry) if content is None else memoryview(content)
        answer = await self._deliver_metered(body, b"", FileUrls(self._grants, file.to_send, grant))
        if isinstance(answer, S3Failure):
            if action_for(answer) is not UploadAction.SETTLE:
                raise PartRefused(f"{file.entry.shown[:200]!r}: {answer}")
            self._was_there = True


def _facts(stream: ContentStream, manifest: ContentManifest, *, seconds: float) -> PublishedFacts:
    """Size and digests are the manifest's."""
    tar = stream.tar
    return PublishedFacts(
        size_bytes=manifest.size_bytes,
        sha256=manifest.sha256,
        md5=manifest.md5.hex(),
        entries=manifest.entries,
        raw_bytes=manifest.content_bytes,
        warnings=tuple(tar.warnings),
        warnings_count=tar.warnings_count,
        left_out_count=tar.left_out_count,
        archive_seconds=seconds,
        content_digest=manifest.content_digest,
    )
