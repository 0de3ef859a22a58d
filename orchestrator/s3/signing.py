"""The signing of a URL for one request on one object.

Always signature version 4 with an unsigned payload. botocore's own `generate_presigned_url` evaluates the endpoint
rules for every URL, which is most of its 350 us, so the rules are asked once per endpoint and only the signature is
made per URL (13 us, orchestrator/s3/presigning.py). Both give the same URL.
"""

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple
from urllib.parse import urlsplit

import botocore.session
import msgspec
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ConfigNotFound, ConfigParseError, ProfileNotFound

from orchestrator.rules.location import Location
from orchestrator.s3.credentials.chain import Snapshot
from orchestrator.s3.presigning import presigned
from shared.errors import ConfigurationInvalid, CredentialsExpiring
from shared.protocol.messages import FilesGiven, FileToSend
from shared.protocol.results.file_urls import SIGNATURE, headers_of, quoted_key
from shared.protocol.signed_url import SignedUrl

MAX_LIFETIME_SECONDS = 7 * 24 * 3600
"""The longest that signature version 4 allows (Amazon S3 user guide, "Expiration time for presigned URLs")."""
EXPIRATION_SECONDS = 3600.0
MARGIN_SECONDS = 2.0
"""A URL dies this much before the keys that signed it."""
LEAST_SECONDS = 3.0
"""A URL with less life than this is of no use to anyone."""
_PROBE_KEY = "key"
_NO_FILES = {
    "profile": (None, None, None, None),
    "config_file": (None, None, os.devnull, None),
    "credentials_file": (None, None, os.devnull, None),
}


class UrlSigner(msgspec.Struct, frozen=True, kw_only=True):
    """Signs for the objects of one bucket as one host serves them. Safe to use from several threads."""

    base_url: str
    region: str
    max_lifetime_seconds: float

    def sign(
        self,
        method: str,
        key: str,
        *,
        keys: Snapshot,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        now: datetime | None = None,
    ) -> SignedUrl:
        """A URL for `method` on the object `key`, that lives no longer than `keys`.

        `headers` are signed too, and whoever uses the URL has to send them verbatim. `query` holds sub-resources, such
        as the part number of a multipart upload. Raises CredentialsExpiring when `keys` are nearly dead.
        """
        now = now or datetime.now(UTC)
        lifetime = self.lifetime_seconds(keys, now=now)
        url = presigned(
            method,
            self.base_url + quoted_key(key),
            keys=keys,
            region=self.region,
            lifetime_seconds=lifetime,
            now=now,
            headers=headers or {},
            query=query or {},
        )
        return SignedUrl(method=method, url=url, headers=dict(headers or {}), lifetime_seconds=lifetime)

    def sign_files(
        self,
        folder: str,
        files: Sequence[FileToSend],
        *,
        keys: Snapshot,
        create_only: bool,
        now: datetime | None = None,
    ) -> FilesGiven:
        """The right to PUT each of these files below the key `folder`. Raises as `sign` does."""
        now = now or datetime.now(UTC)
        lifetime, base_url = self.lifetime_seconds(keys, now=now), self.base_url + quoted_key(folder)
        signatures, query = [], ""
        for file in files:
            url = presigned(
                "PUT",
                base_url + quoted_key(file.key),
                keys=keys,
                region=self.region,
                lifetime_seconds=lifetime,
                now=now,
                headers=headers_of(file, create_only=create_only),
                query={},
            )
            told, _, signature = url.rpartition(SIGNATURE)
            query = told.partition("?")[2]  # the same of all, as nothing in it is of the file
            signatures.append(signature)
        return FilesGiven(
            base_url=base_url,
            query=query,
            signatures=tuple(signatures),
            lifetime_seconds=lifetime,
            create_only=create_only,
        )

    def lifetime_seconds(self, keys: Snapshot, *, now: datetime) -> int:
        """The least of what is configured, what S3 allows and what the keys have left. Raises CredentialsExpiring."""
        remaining = keys.remaining_seconds(now)
        if remaining - MARGIN_SECONDS < LEAST_SECONDS:
            raise CredentialsExpiring(remaining)
        return max(1, int(min(self.max_lifetime_seconds, MAX_LIFETIME_SECONDS, remaining - MARGIN_SECONDS)))

    def __repr__(self) -> str:
        return f"<UrlSigner {self.base_url} in {self.region}, at most {self.max_lifetime_seconds:.0f} s>"


class Signers(NamedTuple):
    """For the host that the orchestrator itself reaches, and for the one that nodes and users reach."""

    internal: UrlSigner
    public: UrlSigner


def signers(location: Location, *, expiration_seconds: float = EXPIRATION_SECONDS) -> Signers:
    """Ask the endpoint rules of AWS for the hosts. Blocks for some 100 ms. Raises ConfigurationInvalid.

    What is wrong with a profile or AWS's files is told with the credentials, and may be mended meanwhile.
    """
    session = botocore.session.Session()
    try:
        session.get_scoped_config()
    except (ConfigNotFound, ConfigParseError, ProfileNotFound):
        session = botocore.session.Session(session_vars=_NO_FILES)

    def signer(endpoint: str, name: str) -> UrlSigner:
        base_url = _base_url(session, location, endpoint, name)
        return UrlSigner(base_url=base_url, region=location.region, max_lifetime_seconds=expiration_seconds)

    internal = signer(location.endpoint, "Endpoint")
    public = signer(location.public_endpoint, "PublicEndpoint") if location.public_endpoint else internal
    return Signers(internal, public)


def _base_url(session: botocore.session.Session, location: Location, endpoint: str, name: str) -> str:
    """What comes before the key in every URL of the bucket, by the endpoint rules of AWS.

    Raises ConfigurationInvalid.
    """
    if endpoint and urlsplit(endpoint).scheme not in {"http", "https"}:
        raise ConfigurationInvalid([f"{name} {endpoint!r} is not a URL with http:// or https://."])
    style = {"addressing_style": location.finds_bucket_in(endpoint), "us_east_1_regional_endpoint": "regional"}
    try:
        client = session.create_client(
            "s3",
            region_name=location.region,
            endpoint_url=endpoint or None,
            aws_access_key_id="nobody",
            aws_secret_access_key="nothing",  # noqa: S106  # no request is made with it
            config=Config(signature_version="s3v4", s3=style, ignore_configured_endpoint_urls=True),
        )
        url = client.generate_presigned_url("get_object", Params={"Bucket": location.bucket, "Key": _PROBE_KEY})
    except (BotoCoreError, ValueError) as error:
        raise ConfigurationInvalid([f"no S3 host can be made from Bucket, Region and {name}: {error}"]) from error
    return str(url.partition("?")[0].removesuffix(_PROBE_KEY))
