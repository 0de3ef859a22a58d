"""A node or a person that holds a signed URL, and uses it for more than it was given for."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest
from yarl import URL

from orchestrator.s3.credentials.chain import Snapshot
from orchestrator.s3.signing import UrlSigner
from shared.protocol.objects import index_key
from shared.protocol.signed_url import SignedUrl
from tests.integration.orchestrator.hostile.attempts import Act, Attempt, Attempts, Loot, filled
from tests.integration.orchestrator.hostile.stage import JOBS, Stage
from tests.integration.orchestrator.hostile.ways import asks
from tests.servers import REGION

pytestmark = pytest.mark.asyncio(loop_scope="module")

ATTEMPTS = Attempts("the holder of a signed URL")
Change = Callable[[str, Stage], str]
BODY = b"forged"


def held(stage: Stage, which: str) -> SignedUrl:
    """What the attacker was rightly given."""
    team = stage.own
    known = {"grant": team.grant, "part": team.part, "index": team.index, "finished": team.result.archive}
    found = known[which]
    assert found is not None
    return found


def uses(
    which: str,
    change: Change | None = None,
    *,
    method: str = "PUT",
    headers: dict[str, str] | None = None,
    without: str = "",
) -> Act:
    """That it is done is the gain, for one that is not what was signed."""

    async def act(stage: Stage, loot: Loot) -> None:
        given = held(stage, which)
        url = change(given.url, stage) if change else given.url
        sent = {name: value for name, value in given.headers.items() if name.lower() != without} | (headers or {})
        await _send(stage, loot, method, url, sent)

    return act


async def _send(stage: Stage, loot: Loot, method: str, url: str, headers: dict[str, str]) -> None:
    loot.say(url)
    data = BODY if method in {"PUT", "POST"} else None
    async with stage.running.http.request(method, URL(url, encoded=True), data=data, headers=headers) as answer:
        loot.get(await answer.read(), dict(answer.headers))
        loot.gain(f"it is answered with {answer.status}", answer.status < 400)


def swap(old: str, new: str) -> Change:
    """One word of the stage for another."""

    def change(url: str, stage: Stage) -> str:
        before, after = filled(old, stage.words), filled(new, stage.words)
        assert before in url
        return url.replace(before, after)

    return change


def to_path(path: str) -> Change:
    """The same signature on another path."""

    def change(url: str, stage: Stage) -> str:
        words = stage.words | {"bucket": stage.bucket}
        query = url.partition("?")[2]
        return f"{stage.s3.endpoint}/{filled(path, words)}?{query}"

    return change


def to_query(name: str, value: str) -> Change:
    """With another value of one parameter, or with one more."""

    def change(url: str, stage: Stage) -> str:
        said = quote(filled(value, stage.words), safe="")
        changed = re.sub(rf"([?&]){re.escape(name)}=[^&]*", rf"\g<1>{name}={said}", url)
        return changed if changed != url else f"{url}&{name}={said}"

    return change


HUSH = "{bucket}/results/namespaces/hush"
HUSH_RESULT = f"{HUSH}/{{done}}/{{result}}.tar.gz"
HUSH_RUNNING = f"{HUSH}/{{running}}/{{execution}}.tar.gz"
OWN_RESULT = "{bucket}/results/namespaces/own/{own_done}/{own_result}.tar.gz"

ATTEMPTS.add(
    ("writes another's archive with the URL of its own", uses("grant", to_path(HUSH_RUNNING))),
    ("overwrites another's result with the URL of its own archive", uses("grant", to_path(HUSH_RESULT))),
    ("writes a new key of another's namespace", uses("grant", to_path(f"{HUSH}/forged.tar.gz"))),
    ("swaps the namespace in its URL", uses("grant", swap("namespaces/own", "namespaces/hush"))),
    ("swaps the execution in its URL", uses("grant", swap("{own_execution}", "{execution}"))),
    ("swaps the job in its URL", uses("grant", swap("{own_running}", "{running}"))),
    ("goes up with dots in its URL", uses("grant", swap("namespaces/own", "namespaces/own/../hush"))),
    ("goes up with encoded dots in its URL", uses("grant", swap("namespaces/own", "namespaces/own/%2e%2e/hush"))),
    (
        "goes up with an encoded slash in its URL",
        uses("grant", swap("namespaces/own/", "namespaces/own%2F..%2Fhush%2F")),
    ),
    ("writes to the root of the bucket", uses("grant", to_path("{bucket}/forged"))),
    ("writes the probe of the orchestrator", uses("grant", to_path("{bucket}/results/.tarpon-probe"))),
    ("writes into another bucket", uses("grant", to_path("another/results/forged"))),
    ("makes a bucket", uses("grant", to_path("forged-bucket"))),
    ("writes another's index with the URL of its own index", uses("index", to_path(index_key(HUSH_RESULT)))),
    ("writes its archive with the URL of its index", uses("index", to_path(OWN_RESULT))),
    ("writes another's index with the URL of its archive", uses("grant", to_path(index_key(HUSH_RUNNING)))),
    ("overwrites its own finished result with the URL that it had", uses("finished")),
    ("overwrites its own finished result without the condition", uses("finished", without="if-none-match")),
    ("overwrites its own finished result with another condition", uses("finished", headers={"If-None-Match": '"x"'})),
    ("overwrites its own finished result with the URL of the next", uses("grant", to_path(OWN_RESULT))),
    ("writes without the condition that was signed", uses("grant", without="if-none-match")),
    (
        "takes the condition out of what was signed",
        uses("grant", to_query("X-Amz-SignedHeaders", "host"), without="if-none-match"),
    ),
    ("reads with a URL to write", uses("grant", method="GET")),
    ("looks with a URL to write", uses("grant", method="HEAD")),
    ("deletes with a URL to write", uses("grant", method="DELETE")),
    ("posts with a URL to write", uses("grant", method="POST")),
    ("reads another's result with a URL to write", uses("grant", to_path(HUSH_RESULT), method="GET")),
    ("lists the bucket with a URL to write", uses("grant", to_path("{bucket}"), method="GET")),
    ("lists a prefix with a URL to write", uses("grant", to_query("prefix", "results/"), method="GET")),
    ("lists the uploads with a URL to write", uses("grant", to_query("uploads", ""), method="GET")),
    ("begins an upload with a URL to write", uses("grant", to_query("uploads", ""), method="POST")),
    ("sets an ACL with a URL to write", uses("grant", to_query("acl", ""))),
    ("sets tags with a URL to write", uses("grant", to_query("tagging", ""))),
    (
        "copies another's result with a URL to write",
        uses("grant", headers={"x-amz-copy-source": "/results/namespaces/hush/x"}, method="COPY"),
    ),
    ("makes its URL live longer", uses("grant", to_query("X-Amz-Expires", "604800"))),
    ("makes its URL begin later", uses("grant", to_query("X-Amz-Date", "20991231T000000Z"))),
    (
        "says that other keys have signed",
        uses("grant", to_query("X-Amz-Credential", "forged/20260101/us-east-1/s3/aws4_request")),
    ),
    ("says another region", uses("grant", lambda url, _: url.replace(REGION, "eu-north-1"))),
    ("takes the signature off", uses("grant", lambda url, _: url.partition("?")[0])),
    ("changes one letter of the signature", uses("grant", lambda url, _: url[:-1] + ("0" if url[-1] != "0" else "1"))),
    ("uses another version of signatures", uses("grant", to_query("X-Amz-Algorithm", "AWS4-HMAC-SHA1"))),
    ("writes part 3 with the URL of part 2", uses("part", to_query("partNumber", "3"))),
    ("writes a part of another's upload", uses("part", to_query("uploadId", "{upload}"))),
    (
        "writes a part of another's upload to its key",
        uses("part", lambda url, stage: to_query("uploadId", "{upload}")(to_path(HUSH_RUNNING)(url, stage), stage)),
    ),
    ("writes a part of its own upload to another's key", uses("part", to_path(HUSH_RUNNING))),
    (
        "writes a whole object with the URL of a part",
        uses("part", lambda url, _: re.sub(r"[?&](partNumber|uploadId)=[^&]*", "", url).replace("gz&", "gz?")),
    ),
    ("lists the parts with the URL of a part", uses("part", method="GET")),
    ("aborts its upload with the URL of a part", uses("part", method="DELETE")),
    ("completes its upload with the URL of a part", uses("part", method="POST")),
)


async def result_url(stage: Stage) -> str:
    """Of the person's own result."""
    answer = await stage.http(f"{JOBS}/{stage.words['own_done']}/results", by="own-all")
    return str(answer.json["Items"][0]["Params"]["PreSignedURL"])


def reads(change: Change, *, method: str = "GET", headers: dict[str, str] | None = None) -> Act:
    """With the URL of one's own result."""

    async def act(stage: Stage, loot: Loot) -> None:
        url = change(await result_url(stage), stage)
        await _send(stage, loot, method, url, headers or {})

    return act


def same(url: str, _: Stage) -> str:
    return url


ATTEMPTS.add(
    ("reads another's result with the URL of its own", reads(to_path(HUSH_RESULT))),
    ("reads another's archive that is not finished", reads(to_path(HUSH_RUNNING))),
    ("reads another's index with the URL of its own result", reads(to_path(index_key(HUSH_RESULT)))),
    (
        "swaps namespace, job and execution in the URL of a result",
        reads(
            lambda url, stage: swap("{own_result}", "{result}")(
                swap("{own_done}", "{done}")(swap("/own/", "/hush/")(url, stage), stage), stage
            )
        ),
    ),
    ("lists the bucket with the URL of a result", reads(to_path("{bucket}"))),
    ("lists all buckets with the URL of a result", reads(to_path(""))),
    ("overwrites its own result with the URL to read it", reads(same, method="PUT")),
    ("deletes its own result with the URL to read it", reads(same, method="DELETE")),
    ("reads another version with the URL of a result", reads(to_query("versionId", "1"))),
    ("has its result shown as a page of the bucket's", reads(to_query("response-content-type", "text/html"))),
    ("asks for the result of another as a range", reads(to_path(HUSH_RESULT), headers={"Range": "bytes=0-3"})),
)


def expired(method: str) -> Act:
    """As the orchestrator signed it two hours ago, for one hour."""

    async def act(stage: Stage, loot: Loot) -> None:
        signer = UrlSigner(base_url=f"{stage.s3.endpoint}/{stage.bucket}/", region=REGION, max_lifetime_seconds=3600)
        words = stage.words
        key = f"results/namespaces/own/{words['own_running']}/{words['own_execution']}.tar.gz"
        now = datetime.now(UTC)
        keys = Snapshot(
            access_key=stage.s3.orchestrator.access,
            secret_key=stage.s3.orchestrator.secret,
            token=None,
            expires_at=None,
            loaded_at=now,
            source="test",
        )
        old = signer.sign(method, key, keys=keys, now=now - timedelta(hours=2))
        await _send(stage, loot, method, old.url, {})

    return act


ATTEMPTS.add(
    ("writes with a URL that has expired", expired("PUT")),
    ("reads with a URL that has expired", expired("GET")),
    ("asks the API for another's result by the key of its object", asks(f"{JOBS}/results%2Fnamespaces%2Fhush/results")),
)


@ATTEMPTS.named("finds the keys that signed in its URLs")
async def _(stage: Stage, loot: Loot) -> None:
    told: list[Any] = [held(stage, which).url for which in ("grant", "part", "index", "finished")]
    for url in (*told, await result_url(stage)):
        loot.gain("a secret key of S3", stage.s3.orchestrator.secret in url)
        loot.gain("a key of the administrator", stage.s3.admin.access in url)


@ATTEMPTS.named("writes its own archive twice")
async def _(stage: Stage, loot: Loot) -> None:
    """The first one counts: a node cannot exchange what it has told of."""
    given = held(stage, "finished")
    for body in (b"forged", b"own-content"):
        async with stage.running.http.put(URL(given.url, encoded=True), data=body, headers=given.headers) as answer:
            loot.gain(f"it is answered with {answer.status}", answer.status != 412)


@ATTEMPTS.each()
async def test_a_holder_gains_nothing_who(stage: Stage, attempt: Attempt) -> None:
    assert await stage.gains_of(attempt) == []
