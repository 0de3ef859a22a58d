"""Where results are kept: the bucket, its region and how it is reached."""

import msgspec


class BucketSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The publisher's settings, as they are documented under `Publishers.Types.S3Managed`."""

    bucket: str
    key: str = ""
    region: str
    endpoint: str = ""
    public_endpoint: str = ""
    expiration_seconds: float = 3600

    @property
    def place(self) -> str:
        """How a person writes it: `s3://bucket/key (region, endpoint)`."""
        where = f"{self.region}, {self.endpoint}" if self.endpoint else self.region
        return f"s3://{self.bucket}/{self.key} ({where})"
