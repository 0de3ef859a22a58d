"""The bucket, as the rest of the orchestrator uses it: it signs URLs, looks at objects and knows its own health."""

import asyncio
from types import TracebackType
from typing import Self

import aiohttp

from orchestrator.s3_credentials import CredentialSource
from orchestrator.s3_location import BucketSettings
from orchestrator.s3_probe import CREATE_ONLY, BucketHealth, ProbeOutcome, probe
from orchestrator.s3_problems import CREDENTIAL_PROBLEMS
from orchestrator.s3_signing import LEAST_SECONDS, MARGIN_SECONDS, Signers, UrlSigner, signers
from orchestrator.s3_verification import Absent, ObjectFacts, Verifier
from shared.signed_url import SignedUrl

PROBE_INTERVAL_SECONDS = 30.0
MAX_CONNECTIONS = 64


class Bucket:
    """Use as an async context manager, and let `run()` run in a task while it is open.

    Entering opens no connection and needs no credentials, so that an orchestrator starts while S3 is away. It raises
    ConfigurationInvalid where no S3 host can be made from the settings.
    """

    def __init__(
        self,
        settings: BucketSettings,
        *,
        credentials: CredentialSource | None = None,
        probe_interval_seconds: float = PROBE_INTERVAL_SECONDS,
    ) -> None:
        self.settings = settings
        self.credentials = credentials or CredentialSource()
        self.health = BucketHealth(self._probe, settings.place, interval_seconds=probe_interval_seconds)
        self._signers: Signers
        self._session: aiohttp.ClientSession

    def __repr__(self) -> str:
        return f"<Bucket {self.settings.place}>"

    async def __aenter__(self) -> Self:
        self._signers = await asyncio.to_thread(signers, self.settings)
        connector = aiohttp.TCPConnector(limit=MAX_CONNECTIONS)
        self._session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def run(self) -> None:
        """Keep the credentials fresh, for ever, and probe until the bucket can be used."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.credentials.run(), name="s3-credentials")
            group.create_task(self.health.run(), name="s3-health")

    async def sign_put(self, key: str, *, create_only: bool) -> SignedUrl:
        """A URL for nodes to write the object; with `create_only` the PUT fails with 412 where an object exists.

        Does not suspend while the present credentials live. Raises StorageUnavailable (retryable) without any.
        """
        return await self._sign(self._signers.public, "PUT", key, headers=CREATE_ONLY if create_only else None)

    async def sign_get(self, key: str) -> SignedUrl:
        """A URL for nodes and users to read the object. Raises as sign_put does."""
        return await self._sign(self._signers.public, "GET", key)

    async def head(self, key: str) -> ObjectFacts | Absent:
        """What is in the bucket under `key`. Raises StorageUnavailable (retryable)."""
        return await Verifier(self._session).head(await self._sign_internal("HEAD", key))

    def invalidate_credentials(self) -> None:
        """To be called when S3 refused a URL for its keys: they are read again, at most once a second."""
        self.credentials.invalidate()

    async def _sign(
        self, signer: UrlSigner, method: str, key: str, *, headers: dict[str, str] | None = None
    ) -> SignedUrl:
        keys = await self.credentials.usable(least_seconds=LEAST_SECONDS + MARGIN_SECONDS)
        return signer.sign(method, key, keys=keys, headers=headers)

    async def _sign_internal(self, method: str, key: str, *, headers: dict[str, str] | None = None) -> SignedUrl:
        return await self._sign(self._signers.internal, method, key, headers=headers)

    async def _probe(self) -> ProbeOutcome:
        outcome = await probe(self._session, self.settings, self._sign_internal)
        if outcome.problem is not None and outcome.problem.code in CREDENTIAL_PROBLEMS:
            self.credentials.invalidate()
        return outcome
