"""Signed requests: the few that set up a local S3 server, signed by botocore, which comes with every devstack."""

import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass, field

TIMEOUT_SECONDS = 10


@dataclass(frozen=True)
class Keys:
    access: str
    secret: str = field(repr=False)


def request(
    method: str, url: str, *, keys: Keys | None, region: str, body: bytes = b"", trust: ssl.SSLContext | None = None
) -> tuple[int, bytes]:
    """Status and body of the answer; unsigned without keys. Blocks. Raises OSError where nobody answers.

    `trust` is whom to trust of those with https://.
    """
    headers = {} if keys is None else _signed_headers(method, url, body, keys=keys, region=region)
    asked = urllib.request.Request(url, data=body or None, headers=headers, method=method)  # noqa: S310  # our own URL
    try:
        with _opener(trust).open(asked, timeout=TIMEOUT_SECONDS) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def _opener(trust: ssl.SSLContext | None) -> urllib.request.OpenerDirector:
    """By which no proxy of the environment is used."""
    return urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trust))


def _signed_headers(method: str, url: str, body: bytes, *, keys: Keys, region: str) -> dict[str, str]:
    # It takes a tenth of a second to import, which passes while the server starts that is asked.
    from botocore.auth import S3SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    asked = AWSRequest(method=method, url=url, data=body)
    S3SigV4Auth(Credentials(keys.access, keys.secret), "s3", region).add_auth(asked)
    return dict(asked.headers.items())
