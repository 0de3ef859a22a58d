"""The bucket, as the rest of the orchestrator uses it: it signs URLs, looks at objects and knows its own health."""

import asyncio
import base64
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import aiohttp

from orchestrator.rules.location import Location
from orchestrator.s3.bucket_rules.answers import BucketRules, bucket_rules
from orchestrator.s3.completion_probe import compares_checksums, honours_create_only
from orchestrator.s3.credentials.chain import Snapshot
from orchestrator.s3.credentials.rotation import CredentialSource
from orchestrator.s3.deletion import DeletionRefused, delete
from orchestrator.s3.disposition import named
from orchestrator.s3.listing import ListedPage
from orchestrator.s3.lookups import FoundObject, list_page, look
from orchestrator.s3.multipart import ARCHIVES, S3_CODE, Completed, MultipartUploads, UploadGone
from orchestrator.s3.part_listing import PartsThere, list_parts, part_query
from orchestrator.s3.probe import CREATE_ONLY, BucketHealth, ProbeOutcome, probe
from orchestrator.s3.problems import BucketProblem, ProblemCode, explain_exception
from orchestrator.s3.requests import Answer, Sender
from orchestrator.s3.signing import EXPIRATION_SECONDS, LEAST_SECONDS, MARGIN_SECONDS, Signers, UrlSigner, signers
from orchestrator.s3.verification import Absent, ObjectFacts, Verifier
from orchestrator.s3.watch import BucketWatch
from shared.errors import StorageUnavailable
from shared.protocol.messages import FilesGiven, FileToSend
from shared.protocol.objects import deletion_probe_key, probe_key
from shared.protocol.s3_errors import MAX_ERROR_BYTES, is_of_keys, may_be_of_keys
from shared.protocol.signed_url import CHECKSUM_HEADER, SignedUrl
from shared.runtime.tls.trust import trusting_store

_log = logging.getLogger(__name__)

PROBE_INTERVAL_SECONDS = 30.0


class Bucket:
    """Signs and looks by the keys of objects, of which `location` has the beginning. URLs live `expiration_seconds`.

    Use as an async context manager, and let `run()` run in a task while it is open.

    Entering opens no connection and needs no credentials, so that an orchestrator starts while S3 is away. It raises
    ConfigurationInvalid where no S3 host can be made from the location, and AuthorityUnreadable. `deletes` is whether
    results are deleted here. `ca_file` has the authorities of the service, where this machine does not trust them.
    """

    def __init__(
        self,
        location: Location,
        *,
        expiration_seconds: float = EXPIRATION_SECONDS,
        credentials: CredentialSource | None = None,
        probe_interval_seconds: float = PROBE_INTERVAL_SECONDS,
        deletes: bool = False,
        ca_file: str = "",
    ) -> None:
        self.deletion_problem: BucketProblem | None = None
        self.completes_create_only: bool | None = None
        """Whether the service honours `If-None-Match` at the end of an upload in parts; None is not known yet."""
        self.compares_checksums: bool | None = None
        """Whether it compares the CRC-32 of parts whose URLs are signed with it; None is not known yet."""
        self.location = location
        self.expiration_seconds = expiration_seconds
        self.credentials = credentials or CredentialSource()
        self.health = BucketHealth(self._probe, location.place, interval_seconds=probe_interval_seconds)
        self.watch = BucketWatch(self._read_probe, location, interval_seconds=probe_interval_seconds)
        self._deletes = deletes
        self._probe_interval_seconds = probe_interval_seconds
        self.ca_file = ca_file
        self._multipart = MultipartUploads(location, ca_file=ca_file)
        self._signers: Signers
        self._sender: Sender

    def __repr__(self) -> str:
        return f"<Bucket {self.location.place}>"

    async def __aenter__(self) -> Self:
        self._signers = await asyncio.to_thread(signers, self.location, expiration_seconds=self.expiration_seconds)
        trust = await asyncio.to_thread(trusting_store, self.ca_file)
        self._sender = Sender(trust)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._multipart.__aexit__(kind, error, trace)
        await self._sender.close()

    @property
    def upload_origin(self) -> str:
        """The scheme, host and port of the URLs that nodes get, and users too."""
        found = urlsplit(self._signers.public.base_url)
        return f"{found.scheme}://{found.netloc}"

    async def run(self) -> None:
        """Keep the credentials fresh, for ever, and probe until the bucket can be used as it has to be."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.credentials.run(), name="s3-credentials")
            group.create_task(self.health.run(), name="s3-health")
            group.create_task(self.watch.run(), name="s3-watch")
            if self._deletes:
                group.create_task(self._until_it_may_delete(), name="s3-deletion")

    async def sign_put(self, key: str, *, create_only: bool) -> SignedUrl:
        """A URL for nodes to write the object; with `create_only` the PUT fails with 412 where an object exists.

        Does not suspend while the present credentials live. Raises StorageUnavailable (retryable) without any.
        """
        return await self._sign(self._signers.public, "PUT", key, headers=CREATE_ONLY if create_only else None)

    async def sign_parts(self, key: str, upload_id: str, first: int, count: int) -> tuple[SignedUrl, ...]:
        """URLs for nodes to write the parts from number `first` on. Raises as sign_put does."""
        keys = await self._usable_keys()
        return tuple(
            self._signers.public.sign("PUT", key, keys=keys, query={"partNumber": str(number), "uploadId": upload_id})
            for number in range(first, first + count)
        )

    async def sign_checked_parts(self, key: str, upload_id: str, crc32: dict[int, str]) -> tuple[SignedUrl, ...]:
        """URLs for nodes to write parts, each by its number for bytes with this CRC-32. Raises as sign_put does."""
        keys = await self._usable_keys()
        return tuple(
            self._signers.public.sign(
                *("PUT", key),
                keys=keys,
                headers={CHECKSUM_HEADER: checksum},
                query={"partNumber": str(number), "uploadId": upload_id},
            )
            for number, checksum in crc32.items()
        )

    async def sign_files(self, folder: str, files: Sequence[FileToSend]) -> FilesGiven:
        """URLs for nodes to write files of a result below this key. Raises as sign_put does."""
        keys, create_only = await self._usable_keys(), self.health.create_only
        return await asyncio.to_thread(
            self._signers.public.sign_files, folder, files, keys=keys, create_only=create_only
        )

    async def sign_content(self, key: str, *, size_bytes: int, sha256: str, create_only: bool) -> SignedUrl:
        """A URL for users to write these bytes and no others, as far as S3 looks at them.

        It counts them, and compares their SHA-256 where it knows that header. Their type is not signed, as many clients
        send one of their own. Raises as sign_put does.
        """
        checksum = base64.b64encode(bytes.fromhex(sha256)).decode()
        headers = {"content-length": str(size_bytes), "x-amz-checksum-sha256": checksum}
        if create_only and self.health.create_only:
            headers |= CREATE_ONLY
        return await self._sign(self._signers.public, "PUT", key, headers=headers)

    async def sign_sized_parts(self, key: str, upload_id: str, sizes: dict[int, int]) -> tuple[SignedUrl, ...]:
        """URLs for users to write parts, each by its number of so many bytes."""
        keys = await self._usable_keys()
        sign = self._signers.public.sign
        return tuple(
            sign(
                *("PUT", key),
                keys=keys,
                headers={"content-length": str(size)},
                query={"partNumber": str(number), "uploadId": upload_id},
            )
            for number, size in sizes.items()
        )

    async def read(self, key: str, *, most_bytes: int) -> bytes | Absent:
        """The object, for ourselves. Raises StorageUnavailable, also where it has more than so many bytes.

        Of one that is absent S3 says that access is denied where these credentials may not list the bucket. What it
        says of keys that have expired, or are none, is another code.
        """
        with self._reached():
            answer = await self._ask(await self._sign_internal("GET", key), most_bytes=most_bytes + 1)
        if answer.failure is not None and (answer.status == 404 or answer.failure.code == ProblemCode.ACCESS_DENIED):
            return Absent()
        if answer.failure is not None or len(answer.body) > most_bytes:
            raise StorageUnavailable(f"S3 does not give {key}: {answer.failure or 'it is too large'}.")
        return answer.body

    async def parts(self, key: str, upload_id: str) -> PartsThere:
        """Which parts of an upload are there; none where these credentials may not list them."""
        return await list_parts(self._ask, await self._sign_internal("GET", key, query=part_query(upload_id)))

    async def begin_multipart(self, key: str, *, media_type: str = ARCHIVES, has_checksums: bool = False) -> str:
        """The id of a new upload in parts. Raises StorageUnavailable (retryable)."""
        keys = await self._usable_keys()
        with self._heeding_refusals():
            return await self._multipart.begin(key, keys=keys, media_type=media_type, has_checksums=has_checksums)

    async def complete_multipart(
        self, key: str, upload_id: str, etags: tuple[str, ...], crc32: tuple[str, ...] = ()
    ) -> Completed | UploadGone:
        """Make the parts one object, in place of no other one: by the service's own rule, or else by a look before.

        Raises StorageUnavailable (retryable).
        """
        if self.health.outcome.ready:
            await self._learn_of_completions()
        create_only = bool(self.completes_create_only)
        if not create_only and isinstance(await self.head(key), ObjectFacts):
            return Completed(exists=True)
        keys = await self._usable_keys()
        with self._heeding_refusals():
            return await self._multipart.complete(key, upload_id, etags, crc32, create_only=create_only, keys=keys)

    async def _learn_of_completions(self) -> None:
        if self.completes_create_only is None:
            self.completes_create_only = await honours_create_only(self._ask, self.location.key, self._sign_internal)
        if self.compares_checksums is None:
            self.compares_checksums = await compares_checksums(self._ask, self.location.key, self._sign_internal)

    async def has_multipart(self, key: str, upload_id: str, spare_part: int) -> bool:
        """Whether S3 knows the upload; also where it does not tell. Raises StorageUnavailable without keys.

        Its parts may only be listed with a right that the least policy does not grant, and Ceph says of the list of one
        that is gone that the key is. Where the list tells nothing, and there alone, a part is written that is none of
        the object's: `spare_part` is a number that is not completed with.
        """
        for method, query, body in (
            ("GET", {"max-parts": "1"}, None),
            ("PUT", {"partNumber": str(spare_part)}, b"\n"),
        ):
            url = await self._sign_internal(method, key, query=query | {"uploadId": upload_id})
            try:
                answer = await self._ask(url, body=body)
            except (aiohttp.ClientError, OSError):
                return True
            if answer.failure is None or answer.status >= 500:
                return True
            if answer.failure.code == "NoSuchUpload":
                return False
        return True

    async def abort_multipart(self, key: str, upload_id: str) -> None:
        """Raises StorageUnavailable, also where these credentials may not do it."""
        keys = await self._usable_keys()
        with self._heeding_refusals():
            await self._multipart.abort(key, upload_id, keys=keys)

    async def sign_get(self, key: str, *, saved_as: str = "") -> SignedUrl:
        """A URL for users to read the object, which a browser saves under that name. Raises as sign_put does."""
        query = named(saved_as) if saved_as and self.health.names_downloads else None
        return await self._sign(self._signers.public, "GET", key, query=query)

    async def sign_reads(self, objects: Iterable[tuple[str, str, str]]) -> tuple[SignedUrl, ...]:
        """URLs for nodes to read objects, each by its key, version and ETag, of which the latter may be empty.

        Of an object that was replaced none reads anything. Raises as sign_put does.
        """
        keys, sign = await self._usable_keys(), self._signers.public.sign
        return tuple(
            sign(
                "GET",
                key,
                keys=keys,
                headers={"if-match": etag} if etag else None,
                query={"versionId": version} if version else None,
            )
            for key, version, etag in objects
        )

    async def look(self, key: str, *, version: str = "") -> FoundObject:
        """An object that may be read. Raises NotShown, and StorageUnavailable (retryable)."""
        with self._reached():
            return await look(self._ask, self._sign_internal, key, version=version)

    async def list_page(self, prefix: str, token: str = "") -> ListedPage:
        """Objects whose keys begin so; needs a right that the least policy does not grant. Raises as `look` does."""
        with self._reached():
            return await list_page(self._ask, self._sign_internal, prefix, token)

    async def rules(self) -> BucketRules:
        """Of the whole bucket; needs rights that the least policy does not grant. Raises StorageUnavailable."""
        with self._reached():
            return await bucket_rules(self._ask, self._sign_internal)

    async def get(self, key: str, *, most_bytes: int) -> bytes | None:
        """The object, of which there are at most so many bytes; None where it is not. Raises StorageUnavailable."""
        with self._reached():
            answer = await self._ask(await self._sign_internal("GET", key), most_bytes=most_bytes)
        if answer.failure is not None and answer.status != 404:
            raise StorageUnavailable(f"S3 does not give {key}: {answer.failure}.")
        return answer.body if answer.failure is None else None

    async def put_new(self, key: str, content: bytes) -> None:
        """Write an object whose key tells what is in it, unless it is there. Raises StorageUnavailable."""
        condition = CREATE_ONLY if self.health.create_only else None
        with self._reached():
            answer = await self._ask(await self._sign_internal("PUT", key, headers=condition), body=content)
        if answer.failure is not None and answer.status != 412:
            raise StorageUnavailable(f"S3 does not take {key}: {answer.failure}.")

    async def put(self, key: str, content: bytes) -> None:
        """Write an object, whatever is there. Raises StorageUnavailable."""
        with self._reached():
            answer = await self._ask(await self._sign_internal("PUT", key), body=content)
        if answer.failure is not None:
            raise StorageUnavailable(f"S3 does not take {key}: {answer.failure}.")

    @contextmanager
    def _reached(self) -> Iterator[None]:
        """Raise StorageUnavailable where there is no answer."""
        try:
            yield
        except (aiohttp.ClientError, OSError) as error:
            problem = explain_exception(error, self.location)
            raise StorageUnavailable(problem.message, hint=problem.hint) from None

    async def head(self, key: str) -> ObjectFacts | Absent:
        """What is in the bucket under `key`. Raises StorageUnavailable (retryable)."""
        return await Verifier(self._ask).head(await self._sign_internal("HEAD", key))

    async def delete(self, key: str) -> None:
        """Raises DeletionRefused, also where the bucket's policy is the reason, and StorageUnavailable (retryable)."""
        await delete(self._ask, await self._sign_internal("DELETE", key), self.location)

    async def check_deletion(self) -> None:
        """Find out whether objects may be deleted, without deleting any. Raises as `delete` does."""
        try:
            await self.delete(deletion_probe_key(self.location.key))
        except DeletionRefused as error:
            self.deletion_problem = BucketProblem(
                code=ProblemCode.ACCESS_DENIED, message=error.message, hint=error.hint
            )
            raise
        self.deletion_problem = None

    async def _until_it_may_delete(self) -> None:
        """Where results are to be deleted after their time, whoever looks at the orchestrator sees that it may not."""
        while True:
            try:
                await self.check_deletion()
            except DeletionRefused as error:
                _log.debug("Results cannot be deleted: %s", error.message)
            except StorageUnavailable as error:
                _log.debug("Whether results may be deleted cannot be told: %s", error.message)
            else:
                return
            await asyncio.sleep(self._probe_interval_seconds)

    async def problem(self) -> BucketProblem | None:
        """Why objects cannot be written and read now, by a request of our own with keys that are read again.

        What S3 refuses to a node, or does not show, may be the fault of our keys or clock.
        """
        self.credentials.invalidate()
        return await self.health.confirm()

    async def _sign(
        self,
        signer: UrlSigner,
        method: str,
        key: str,
        *,
        headers: dict[str, str] | None = None,
        query: dict[str, str] | None = None,
    ) -> SignedUrl:
        return signer.sign(method, key, keys=await self._usable_keys(), headers=headers, query=query)

    async def _ask(
        self,
        url: SignedUrl,
        *,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        most_bytes: int = MAX_ERROR_BYTES,
    ) -> Answer:
        """Make a request of our own. Where it may be refused for its keys, they are read again before the next one."""
        answer = await self._sender(url, body=body, headers=headers, most_bytes=most_bytes)
        if answer.failure is not None and may_be_of_keys(answer.failure):
            self.credentials.invalidate()
        return answer

    @contextmanager
    def _heeding_refusals(self) -> Iterator[None]:
        """As `_ask` does."""
        try:
            yield
        except StorageUnavailable as error:
            if is_of_keys(error.details.get(S3_CODE, "")):
                self.credentials.invalidate()
            raise

    async def _usable_keys(self) -> Snapshot:
        return await self.credentials.usable(least_seconds=LEAST_SECONDS + MARGIN_SECONDS)

    async def _sign_internal(
        self, method: str, key: str, *, headers: dict[str, str] | None = None, query: dict[str, str] | None = None
    ) -> SignedUrl:
        return await self._sign(self._signers.internal, method, key, headers=headers, query=query)

    async def _read_probe(self) -> Answer:
        return await self._ask(await self._sign_internal("GET", probe_key(self.location.key)))

    async def _probe(self) -> ProbeOutcome:
        outcome = await probe(self._ask, self.location, self._sign_internal)
        if outcome.ready:
            await self._learn_of_completions()
        return outcome
