"""URLs of sent data are credentials, which no text of the shapes that carry them shows."""

from collections.abc import Callable
from typing import Any

import pytest

from shared.jobs.inputs.manifest import DataFile
from shared.protocol.namespaces.rest_data import FileOfData, FilePartsResponse, MissingContent, SignedPut

URL = "http://s3/bucket/key?X-Amz-Signature=hush"
PUT = SignedPut(url=URL, headers={"content-length": "1"})
GET = FileOfData(file=DataFile(path="a", sha256="ab" * 32, size=1), url=URL)


@pytest.mark.parametrize("shown", [repr, str, lambda each: str(each.__rich_repr__())], ids=["repr", "str", "rich"])
def test_no_text_of_a_url_has_its_signature(shown: Callable[[Any], str]) -> None:
    for each in (PUT, GET, MissingContent(sha256="ab", size=1, put=PUT)):
        assert "hush" not in shown(each)
    assert "hush" not in repr(FilePartsResponse(upload_id="u", part_bytes=1, parts=(PUT,)))
