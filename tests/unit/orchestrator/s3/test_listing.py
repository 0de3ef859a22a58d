import pytest

from orchestrator.s3.listing import ListedObject, NotAListing, parsed

NAMESPACE = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'


def listing(inner: str, *, of: str = "ListBucketResult") -> bytes:
    return f'<?xml version="1.0"?><{of} {NAMESPACE}>{inner}</{of}>'.encode()


def contents(key: str, size: str = "1", etag: str = "&quot;e&quot;") -> str:
    return f"<Contents><Key>{key}</Key><Size>{size}</Size><ETag>{etag}</ETag></Contents>"


def test_keys_that_are_quoted_are_read_as_they_are() -> None:
    page = parsed(listing("<EncodingType>url</EncodingType>" + contents("a+b%2Bc%20d%C3%BC%01")))
    assert page.objects == (ListedObject("a b+c dü\x01", 1, '"e"'),)
    assert parsed(listing(contents("a+b%2B"))).objects[0].key == "a+b%2B"


def test_etags_have_quotes_whoever_wrote_them() -> None:
    assert [each.etag for each in parsed(listing(contents("a", etag="e") + contents("b", etag=""))).objects] == [
        '"e"',
        "",
    ]


def test_the_next_page_is_where_the_token_leads_while_there_is_more() -> None:
    more = "<IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>"
    assert parsed(listing(more)).next_token == "t"
    assert parsed(listing(more.replace("true", "false"))).next_token == ""
    assert parsed(listing("")) == parsed(listing("<IsTruncated>false</IsTruncated>"))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no xml",
        b"<html></html>",
        listing("", of="ListAllMyBucketsResult"),
        listing("<IsTruncated>true</IsTruncated>"),
        listing(contents("a", size="-1")),
        listing(contents("a", size="many")),
        listing("<Contents><Size>1</Size></Contents>"),
        b'<!DOCTYPE a [<!ENTITY b "c">]>' + listing(""),
        listing(contents("a"))[:-5],
    ],
    ids=range(10),
)
def test_what_is_no_list_is_not_read_as_one(body: bytes) -> None:
    with pytest.raises(NotAListing):
        parsed(body)
