"""The probe of completions: whether that of an upload in parts may be create-only, as a PUT is.

It is found out with the object that the probe has written just now: an upload of one part is begun under its key and
completed on condition that there is none. It is then completed without a condition where it was not, so that nothing
stays behind, also where uploads may not be aborted, unless S3 fails meanwhile. The object has the same bytes before and
after.
"""

import re
from typing import Final
from xml.sax.saxutils import escape

import aiohttp

from orchestrator.s3.probe import BODY, CREATE_ONLY
from orchestrator.s3.requests import Answer, Send, Sign
from shared.errors import StorageUnavailable
from shared.protocol.objects import probe_key
from shared.protocol.s3_errors import S3Failure, UploadAction, action_for, parse_error

_UPLOAD_ID: Final = re.compile(rb"<UploadId>([^<>&\s]{1,1024})</UploadId>")


async def honours_create_only(send: Send, key_prefix: str, sign: Sign) -> bool | None:
    """None where S3 is failing or does not answer, so that it is to be asked again."""
    try:
        return await _Trial(send, probe_key(key_prefix), sign).run()
    except (aiohttp.ClientError, OSError, StorageUnavailable):
        return None


class _Trial:
    def __init__(self, send: Send, key: str, sign: Sign) -> None:
        self._send = send
        self._key = key
        self._sign = sign

    async def run(self) -> bool | None:
        begun = await self._ask("POST", {"uploads": ""})
        found = _UPLOAD_ID.search(begun.body)
        if begun.failure is not None or found is None:
            return _unless_failing(begun.failure)
        upload = {"uploadId": found[1].decode("utf-8", "replace")}
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

    async def _ask(
        self, method: str, query: dict[str, str], body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> Answer:
        return await self._send(await self._sign(method, self._key, headers=headers, query=query), body=body)


def _completion(etag: str) -> bytes:
    part = f"<Part><PartNumber>1</PartNumber><ETag>{escape(etag)}</ETag></Part>"
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
