"""The policy of the page: a browser may connect to the orchestrator, and to the buckets of results."""

from orchestrator.api.page.policy import headers_of_page
from orchestrator.rules.location import Location
from orchestrator.s3.bucket import Bucket
from orchestrator.s3.locations import Locations

AWS = Location(bucket="results", region="eu-central-1", key="a")
DOTTED = Location(bucket="results.example", region="eu-central-1")
BEHIND = Location(bucket="b", region="r", endpoint="http://s3:8333", public_endpoint="https://s3.example:8443/")


def connect_src(*urls: str) -> list[str]:
    policy = headers_of_page(urls)["Content-Security-Policy"]
    (found,) = (each for each in policy.split("; ") if each.startswith("connect-src "))
    return found.split()[1:]


async def test_a_browser_may_read_where_signed_urls_lead_also_those_of_earlier_settings() -> None:
    async with Bucket(AWS) as bucket, Locations(bucket) as locations:
        assert locations.read_origins() == ("https://results.s3.eu-central-1.amazonaws.com",)
        for earlier in (BEHIND, DOTTED, BEHIND.at("another")):
            await locations.bucket_of(earlier)
        assert connect_src(*locations.read_origins()) == [
            "'self'",
            "https://results.s3.eu-central-1.amazonaws.com",
            "https://s3.eu-central-1.amazonaws.com",
            "https://s3.example:8443",
        ]


async def test_without_a_bucket_it_may_connect_to_the_orchestrator_alone() -> None:
    async with Locations(None) as locations:
        assert connect_src(*locations.read_origins()) == ["'self'"]


def test_what_is_no_origin_ends_no_directive() -> None:
    urls = ("https://a.example; script-src *", "javascript:alert(1)", "https://[::1]:9000/b", "//x", "https://a:b")
    assert connect_src(*urls) == ["'self'", "https://[::1]:9000"]
