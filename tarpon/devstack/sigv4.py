"""How a small request to S3 is signed by hand, for setting up a local server where no boto is.

Rules: "Signature Version 4 signing process" in the AWS IAM user guide; the payload is always hashed.
"""

import hashlib
import hmac
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import urlsplit

TIMEOUT_SECONDS = 10
_SIGNED_HEADERS = "host;x-amz-content-sha256;x-amz-date"
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class Keys:
    access: str
    secret: str = field(repr=False)


def request(method: str, url: str, *, keys: Keys | None, region: str, body: bytes = b"") -> tuple[int, bytes]:
    """Status and body of the answer; unsigned without keys. Blocks. Raises OSError where nobody answers."""
    headers = {} if keys is None else signed_headers(method, url, body, keys=keys, region=region, now=datetime.now(UTC))
    asked = urllib.request.Request(url, data=body or None, headers=headers, method=method)  # noqa: S310  # our own URL
    try:
        with _direct.open(asked, timeout=TIMEOUT_SECONDS) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def signed_headers(method: str, url: str, body: bytes, *, keys: Keys, region: str, now: datetime) -> dict[str, str]:
    """The headers that sign this request.

    The path of `url` is percent-encoded; its query has ordered `name=value` pairs, or there is none.
    """
    parts = urlsplit(url)
    moment, digest = now.strftime("%Y%m%dT%H%M%SZ"), hashlib.sha256(body).hexdigest()
    scope = f"{moment[:8]}/{region}/s3/aws4_request"
    canonical = "\n".join(
        (
            method,
            parts.path,
            parts.query,
            f"host:{parts.netloc}\nx-amz-content-sha256:{digest}\nx-amz-date:{moment}\n",
            _SIGNED_HEADERS,
            digest,
        )
    )
    hashed = hashlib.sha256(canonical.encode()).hexdigest()
    signature = _key(keys, scope, f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{hashed}")
    return {
        "x-amz-date": moment,
        "x-amz-content-sha256": digest,
        "Authorization": f"AWS4-HMAC-SHA256 Credential={keys.access}/{scope}, SignedHeaders={_SIGNED_HEADERS},"
        f" Signature={signature}",
    }


def _key(keys: Keys, scope: str, to_sign: str) -> str:
    key = f"AWS4{keys.secret}".encode()
    for part in (*scope.split("/"), to_sign):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key.hex()
