"""A part of an object that is read into memory, however often that has to be tried."""

import aiohttp

from compute.inputs.objects.get import Changed, ObjectPart, get
from compute.inputs.objects.given import GivenFile
from compute.inputs.objects.patience import Patience, changed
from compute.upload.put import NotAnswered


async def patient_get(
    http: aiohttp.ClientSession, given: GivenFile, first: int, end: int, *, first_pause_seconds: float
) -> bytes:
    """The bytes from `first` to before `end`. Raises InputFailed."""
    if first == end:
        return b""
    patience = Patience(given, first_pause_seconds=first_pause_seconds)
    while True:
        url = await patience.url()
        try:
            answer = await get(http, url, ObjectPart(given.file.size, given.file.etag, first, end))
        except NotAnswered as error:
            await patience.after_no_answer(str(error), has_come=False)
        except Changed:
            raise changed(given) from None
        else:
            if isinstance(answer, bytes):
                given.trouble.went_well()
                return answer
            await patience.after_refusal(answer)
