"""Location: where results are kept, or one of them is, and how the bucket is reached."""

from typing import Any, Literal

import msgspec


class Location(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Stored with each execution, so that a later change of the settings orphans nothing.

    Each field is also a setting of the publisher, by the same name (`Publishers.Types.S3Managed`). The `key` is that of
    an archive, or what the keys of all of them begin with.
    """

    bucket: str
    key: str = ""
    region: str
    endpoint: str = ""
    public_endpoint: str = ""

    def at(self, key: str) -> "Location":
        """Another object, or place for objects, that is reached in the same way."""
        return msgspec.structs.replace(self, key=key)

    def finds_bucket_in(self, endpoint: str) -> Literal["path", "virtual"]:
        """Where `endpoint`, which is empty for AWS, finds the bucket: in the path, or in the name of the host.

        A name with dots would not match the certificate of AWS's hosts.
        """
        return "path" if endpoint or "." in self.bucket else "virtual"

    def shown(self) -> dict[str, Any]:
        """What users are told of it, for a shape that has these fields."""
        return {"bucket": self.bucket, "key": self.key, "region": self.region, "endpoint": self.endpoint}

    @property
    def resource(self) -> str:
        """All that is below the key, as policies of AWS name it."""
        below = f"{self.key.removesuffix('/')}/" if self.key else ""
        return f"arn:aws:s3:::{self.bucket}/{below}*"

    @property
    def place(self) -> str:
        """How a person writes it: `s3://bucket/key (region, endpoint)`."""
        where = f"{self.region}, {self.endpoint}" if self.endpoint else self.region
        return f"s3://{self.bucket}/{self.key} ({where})"
