"""The probe of uploads in parts: whether a completion may be create-only, as a PUT is, and whether checksums count.

The first is found out with the object that the probe has written just now: an upload of one part is begun under its
key and completed on condition that there is none. It is then completed without a condition where it was not, so that
nothing stays behind, also where uploads may not be aborted, unless S3 fails meanwhile. The object has the same bytes
before and after.

For the second another upload is begun, with checksums: a part with the CRC-32 of other bytes must be refused, and the
right one be taken. It is completed with checksums, as Amazon S3 wants it.
"""

import base64
import re
import zlib
from typing import Final
from xml.sax.saxutils import escape

import aiohttp

from orchestrator.s3.multipart import ALGORITHM
from orchestrator.s3.probe import BODY, CREATE_ONLY
from orchestrator.s3.requests import Answer, Send, Sign
from shared.errors import StorageUnavailable
from shared.protocol.objects import probe_key
from shared.protocol.s3_errors import S3Failure, UploadAction, action_for, parse_error
from shared.protocol.signed_url import CHECKSUM_HEADER

_UPLOAD_ID: Final = re.compile(rb"<UploadId>([^<>&\s]{1,1024})</UploadId>")


async def honours_create_only(send: Send, key_prefix: str, sign: Sign) -> bool | None:
    """None where S3 is failing or does not answer, so that it is to be asked again."""
    try:
        return await _Trial(send, probe_key(key_prefix), sign).run()
    except (aiohttp.ClientError, OSError, StorageUnavailable):
        return None


async def compares_checksums(send: Send, key_prefix: str, sign: Sign) -> bool | None:
    """None as above."""
    try:
        return await _Trial(send, probe_key(key_prefix), sign).compare()
    except (aiohttp.ClientError, OSError, StorageUnavailable):
        return None


class _Trial:
    def __init__(self, send: Send, key: str, sign: Sign) -> None:
        self._send = send
        self._key = key
        self._sign = sign

    async def run(self) -> bool | None:
        begun = await self._ask("POST", {"uploads": ""})
        upload = _upload(begun)
        if upload is None:
            return _unless_failing(begun.failure)
        part = await self._ask("PUT", {"partNumber": "1"} | upload, BODY)
        if part.failure is not None:
            await self._ask("DELETE", upload)
            return _unless_failing(part.failure)
        parts = _completion(part.headers.get("etag", ""))
        failure = _failure(await self._ask("POST", upload, parts, CREATE_ONLY))
        if failure is not None and _failure(await self._ask("POST", upload, parts)) is not None:
            await self._ask("DELETE", upload)
        if failure is not None and failure.status == 412:
            return True
        return _unless_failing(failure)

    async def compare(self) -> bool | None:
        begun = await self._ask("POST", {"uploads": ""}, headers={"x-amz-checksum-algorithm": ALGORITHM})
        upload = _upload(begun)
        if upload is None:
            return _unless_failing(begun.failure)
        number, right, other = {"partNumber": "1"}, _crc32(BODY), _crc32(BODY[1:])
        refused = await self._ask("PUT", number | upload, BODY, {CHECKSUM_HEADER: other})
        taken = await self._ask("PUT", number | upload, BODY, {CHECKSUM_HEADER: right})
        failure = refused.failure if taken.failure is None else taken.failure
        if taken.failure is None and refused.status == 400:
            failure = _failure(await self._ask("POST", upload, _completion(taken.headers.get("etag", ""), right)))
            if failure is None:
                return True
        await self._ask("DELETE", upload)
        return _unless_failing(failure)

    async def _ask(
        self, method: str, query: dict[str, str], body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> Answer:
        return await self._send(await self._sign(method, self._key, headers=headers, query=query), body=body)


def _upload(begun: Answer) -> dict[str, str] | None:
    found = _UPLOAD_ID.search(begun.body)
    if begun.failure is not None or found is None:
        return None
    return {"uploadId": found[1].decode("utf-8", "replace")}


def _crc32(body: bytes) -> str:
    return base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()


def _completion(etag: str, crc32: str = "") -> bytes:
    checksum = f"<ChecksumCRC32>{crc32}</ChecksumCRC32>" if crc32 else ""
    part = f"<Part><PartNumber>1</PartNumber><ETag>{escape(etag)}</ETag>{checksum}</Part>"
    xmlns = "http://s3.amazonaws.com/doc/2006-03-01/"
    return f'<CompleteMultipartUpload xmlns="{xmlns}">{part}</CompleteMultipartUpload>'.encode()


def _failure(answer: Answer) -> S3Failure | None:
    """Also one that comes with the status 200, as a completion's may."""
    if answer.failure is not None:
        return answer.failure
    told = parse_error(answer.status, answer.body, answer.headers)
    if not told.code:
        return None
    return parse_error(412, answer.body, answer.headers) if told.code == "PreconditionFailed" else told


def _unless_failing(failure: S3Failure | None) -> bool | None:
    is_failing = failure is not None and action_for(failure) in {UploadAction.RETRY, UploadAction.RETRY_SLOWER}
    return None if is_failing else False
