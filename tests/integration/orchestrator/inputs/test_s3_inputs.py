"""What inputs of the kinds s3 and s3managed are, asked of a real S3 server when a job is submitted."""

import asyncio
import base64
import gzip
import hashlib
import logging

import pytest

from orchestrator.inputs import s3_objects
from orchestrator.inputs.listings import ListingDamaged, Listings
from orchestrator.inputs.problems import (
    InputEmpty,
    InputForbidden,
    InputListForbidden,
    InputNotAllowed,
    InputNotFound,
    InputsNotReady,
    InputTooLarge,
    TooManyObjects,
)
from orchestrator.rules.frozen_inputs import FrozenInputs
from orchestrator.rules.inputs.patterns import PatternInvalid
from shared.errors import StorageUnavailable
from shared.jobs.spec import Resources, SpecConfig
from tests.faulty_s3 import FaultyS3, Kind, answer
from tests.integration.input_places import (
    RIGHTS,
    give_documented_rights,
    input_places,
    job_of,
    new_bucket,
    put_objects,
    s3_source,
)
from tests.servers import S3Server, free_ports
from tests.waiting import eventually

TREE = {
    "set/a.csv": b"a",
    "set/b.csv": b"bb",
    "set/deep/c.csv": b"ccc",
    "set/empty": b"",
    "set/sp ace+plus.csv": b"d",
    "set/ümläut-日本.csv": b"e",
    "other/x.txt": b"x",
}


@pytest.fixture(scope="module")
def data(s3_server: S3Server) -> str:
    return new_bucket(s3_server, TREE)


@pytest.fixture(scope="module")
def single(s3_server: S3Server) -> str:
    """Of which the orchestrator may read objects, and not list any."""
    return new_bucket(s3_server, TREE, rights=RIGHTS[:2])


@pytest.fixture(scope="module")
def results(s3_server: S3Server) -> str:
    name = s3_server.create_bucket(prefix="results")
    put_objects(s3_server, name, {"results/x": b"1", "data/y": b"2"})
    return name


async def test_an_object_is_a_file_of_its_own_name_in_the_target(s3_server: S3Server, data: str) -> None:
    async with input_places(s3_server, f"s3://{data}") as places:
        found = await places.found(s3_source(data, "set/deep/c.csv"))
    (only,) = found.objects
    assert (only.key, only.path, only.size, only.version) == ("set/deep/c.csv", "c.csv", 3, "")
    assert only.etag == f'"{hashlib.md5(b"ccc", usedforsecurity=False).hexdigest()}"'
    assert (found.count, found.size_bytes) == (1, 3)


async def test_a_prefix_is_all_below_it_by_what_follows_its_last_slash(s3_server: S3Server, data: str) -> None:
    async with input_places(s3_server, f"s3://{data}") as places:
        assert sorted(await places.paths(s3_source(data, "set/"))) == sorted(
            ["a.csv", "b.csv", "deep/c.csv", "empty", "sp ace+plus.csv", "ümläut-日本.csv"]
        )
        assert await places.paths(s3_source(data, "set/de*")) == ["deep/c.csv"]
        assert await places.paths(s3_source(data, "set/*", Filter=r"^[ab]\.csv$")) == ["a.csv", "b.csv"]
        assert await places.paths(s3_source(data, "", Filter="x[.]txt")) == ["other/x.txt"]


async def test_folder_markers_are_left_out_and_empty_objects_are_not(s3_server: S3Server) -> None:
    bucket = await asyncio.to_thread(new_bucket, s3_server, {"m/sub/f": b"f", "m/none": b""})
    async with input_places(s3_server, f"s3://{bucket}") as places:
        assert await places.paths(s3_source(bucket, "m/")) == ["none", "sub/f"]


async def test_lists_of_several_pages_are_whole(s3_server: S3Server) -> None:
    bucket = await asyncio.to_thread(new_bucket, s3_server, {f"many/{number:04}": b"x" for number in range(1203)})
    async with input_places(s3_server, f"s3://{bucket}") as places:
        found = await places.found(s3_source(bucket, "many/"))
        assert [each.path for each in found.objects] == [f"{number:04}" for number in range(1203)]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(s3_objects, "MAX_OBJECTS", 1200)
            with pytest.raises(TooManyObjects, match="more than 1,200 objects") as caught:
                await places.found(s3_source(bucket, "many/"))
            assert "Filter" in caught.value.hint
            assert len(await places.objects(s3_source(bucket, "many/", Filter="^00"))) == 100
            patch.setattr(s3_objects, "MAX_PAGES", 1)
            with pytest.raises(TooManyObjects, match="have to be looked at"):
                await places.found(s3_source(bucket, "many/", Filter="^00"))


async def test_what_is_not_there_is_told(s3_server: S3Server, data: str) -> None:
    async with input_places(s3_server, f"s3://{data}", "s3://no-such-bucket-here") as places:
        with pytest.raises(InputNotFound, match="no such object"):
            await places.found(s3_source(data, "set/gone.csv"))
        with pytest.raises(InputEmpty, match="there is no object"):
            await places.found(s3_source(data, "set/gone/"))
        with pytest.raises(InputEmpty, match="none of the 6 objects"):
            await places.found(s3_source(data, "set/", Filter="nothing"))
        with pytest.raises((InputNotFound, InputForbidden)):
            await places.found(s3_source("no-such-bucket-here", "a"))


async def test_without_the_right_to_list_one_object_is_read_and_a_prefix_told_what_is_missing(
    s3_server: S3Server, single: str
) -> None:
    async with input_places(s3_server, f"s3://{single}") as places:
        assert await places.paths(s3_source(single, "set/a.csv")) == ["a.csv"]
        with pytest.raises(InputListForbidden) as caught:
            await places.found(s3_source(single, "set/"))
    assert f"s3:ListBucket on arn:aws:s3:::{single} for what begins with 'set/'" in caught.value.message


async def test_the_documented_policy_allows_all_that_is_asked_below_its_prefix_and_nothing_else(
    s3_server: S3Server,
) -> None:
    bucket = await asyncio.to_thread(new_bucket, s3_server, {"shared/a": b"a", "shared/b/c": b"c", "other/x": b"x"})
    client = s3_server.client()
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    version = client.put_object(Bucket=bucket, Key="shared/v", Body=b"v")["VersionId"]
    await asyncio.to_thread(give_documented_rights, s3_server, bucket, "iam-policy-inputs.json")
    async with input_places(s3_server, f"s3://{bucket}") as places:
        assert await places.paths(s3_source(bucket, "shared/")) == ["a", "b/c", "v"]
        assert await places.paths(s3_source(bucket, "shared/b*")) == ["b/c"]
        assert await places.paths(s3_source(bucket, "shared/v", VersionID=version)) == ["v"]
        with pytest.raises(InputForbidden):
            await places.found(s3_source(bucket, "other/x"))
        with pytest.raises(InputListForbidden):
            await places.found(s3_source(bucket, "other/"))


async def test_the_documented_policy_for_single_objects_suffices_for_these(s3_server: S3Server) -> None:
    bucket = await asyncio.to_thread(new_bucket, s3_server, {"shared/a": b"a"})
    await asyncio.to_thread(give_documented_rights, s3_server, bucket, "iam-policy-input-objects.json")
    async with input_places(s3_server, f"s3://{bucket}") as places:
        assert await places.paths(s3_source(bucket, "shared/a")) == ["a"]
        with pytest.raises(InputListForbidden):
            await places.found(s3_source(bucket, "shared/"))


async def test_without_any_right_the_right_that_is_missing_is_told(s3_server: S3Server) -> None:
    bucket = await asyncio.to_thread(new_bucket, s3_server, {"a": b"a"}, RIGHTS[2:])
    async with input_places(s3_server, f"s3://{bucket}") as places:
        with pytest.raises(InputForbidden) as caught:
            await places.found(s3_source(bucket, "a"))
    assert f"s3:GetObject on arn:aws:s3:::{bucket}/a" in caught.value.hint


async def test_what_s3_calls_the_orchestrator_is_in_its_log_and_told_to_no_author(
    s3_server: S3Server, data: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    role = "arn:aws:sts::123456789012:assumed-role/tarpon/i-0"
    denied = answer(403, "AccessDenied", f"User: {role} is not authorized to perform: s3:ListBucket")
    async with (
        FaultyS3(s3_server.endpoint).serving() as s3,
        input_places(s3_server, f"s3://{data}", endpoint=s3.endpoint) as places,
    ):
        s3.plan(Kind.OTHER, denied, denied)
        for key in ("set/", "set/a.csv"):
            with pytest.raises((InputForbidden, InputListForbidden)) as caught:
                await places.found(s3_source(data, key))
            assert "123456789012" not in f"{caught.value.message} {caught.value.hint}"
            s3.plan(Kind.HEAD, denied)
            s3.plan(Kind.OTHER, denied)
    assert f"S3 answers 403 AccessDenied: User: {role}" in caplog.text


async def test_a_digest_that_s3_does_not_know_is_for_the_node_to_compare(s3_server: S3Server, data: str) -> None:
    digest = hashlib.sha256(b"a").hexdigest()
    async with input_places(s3_server, f"s3://{data}") as places:
        for written in (digest, base64.b64encode(bytes.fromhex(digest)).decode()):
            (only,) = await places.objects(s3_source(data, "set/a.csv", ChecksumSHA256=written))
            assert only.sha256 == digest


async def test_a_version_is_the_one_that_is_named(s3_server: S3Server) -> None:
    bucket = await asyncio.to_thread(new_bucket, s3_server)
    client = s3_server.client()
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    old = client.put_object(Bucket=bucket, Key="v", Body=b"first")["VersionId"]
    client.put_object(Bucket=bucket, Key="v", Body=b"the second")
    async with input_places(s3_server, f"s3://{bucket}") as places:
        (only,) = await places.objects(s3_source(bucket, "v", VersionID=old))
        assert (only.version, only.size) == (old, 5)
        (newest,) = await places.objects(s3_source(bucket, "v"))
        assert (newest.version, newest.size) == ("", 10)
        with pytest.raises((InputNotFound, InputForbidden, InputsNotReady)):
            await places.found(s3_source(bucket, "v", VersionID="there-is-none"))


async def test_the_limit_of_bytes_and_the_task_s_disk_hold_for_each_part(s3_server: S3Server) -> None:
    bucket = await asyncio.to_thread(new_bucket, s3_server, {f"p/{number}": bytes(1000) for number in range(8)})
    source = s3_source(bucket, "p/", Partition={"Type": "object"})
    async with input_places(s3_server, f"s3://{bucket}", size_limit="7kB") as places:
        assert (await places.found(source, count=4)).size_bytes == 8000
        with pytest.raises(InputTooLarge, match=r"8,000 bytes of inputs; InputSources\.SizeLimit=7kB allows 7,000"):
            await places.found(source)
        with pytest.raises(InputTooLarge, match=r"Resources\.Disk=1kB"):
            await places.resolvers.look_up(job_of(source, count=4, resources=Resources(disk="1kB")))


async def test_all_jobs_together_that_are_submitted_at_a_time_are_bounded(
    s3_server: S3Server, data: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.inputs.resolvers.MOST_AT_ONCE", 10)
    job, told = job_of(s3_source(data, "set/")), list[str]()
    async with input_places(s3_server, f"s3://{data}") as places:

        async def look_up() -> None:
            try:
                await places.frozen(job)
            except InputsNotReady as error:
                told.append(error.message)

        keep = places.listings.keep
        hold = asyncio.Event()

        async def keep_later(namespace: str, inputs: FrozenInputs) -> FrozenInputs:
            await hold.wait()
            return await keep(namespace, inputs)

        monkeypatch.setattr(places.listings, "keep", keep_later)
        async with asyncio.TaskGroup() as group:
            for _ in range(2):
                group.create_task(look_up())
            await eventually(lambda: told, what="one of them is refused")
            hold.set()
        assert len(told) == 1
        assert "those of too many jobs are being looked up" in told[0]
        await places.frozen(job)


async def test_all_inputs_of_a_job_together_are_bounded(
    s3_server: S3Server, data: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.inputs.resolvers.MAX_OBJECTS", 11)
    async with input_places(s3_server, f"s3://{data}") as places:
        await places.resolvers.look_up(job_of(s3_source(data, "set/")))
        with pytest.raises(TooManyObjects, match="input of the job is too large: it has more than 11 objects"):
            await places.resolvers.look_up(job_of(s3_source(data, "set/"), s3_source(data, "set/")))


async def test_patterns_that_re2_does_not_take_are_refused(s3_server: S3Server, data: str) -> None:
    async with input_places(s3_server, f"s3://{data}") as places:
        for pattern in ("(", r"(a)\1", "(?=a)"):
            with pytest.raises(PatternInvalid, match="none that can be searched for"):
                await places.found(s3_source(data, "set/", Filter=pattern))
            with pytest.raises(PatternInvalid):
                await places.found(s3_source(data, "set/", Partition={"Type": "regex", "Pattern": pattern}), count=2)


async def test_a_place_that_nobody_allows_is_not_asked_for(s3_server: S3Server, data: str, results: str) -> None:
    """Each would be found."""
    entries = (f"team=s3://{data}", f"s3://{data}/set/deep", f"s3://{results}")
    async with input_places(s3_server, *entries, managed=results) as places:
        with pytest.raises(InputNotAllowed, match=r"InputSources.Types.S3.Allow"):
            await places.found(s3_source(data, "set/a.csv"))
        with pytest.raises(InputNotAllowed):
            await places.found(s3_source(data, "set/"))
        assert await places.paths(s3_source(data, "set/deep/")) == ["c.csv"]
        assert len(await places.objects(s3_source(data, "set/"), namespace="team")) == 6
        with pytest.raises(InputNotAllowed, match="Endpoint is not the one"):
            await places.found(s3_source(data, "set/deep/", Endpoint=f"http://127.0.0.1:{free_ports(1)[0]}"))
        assert await places.paths(s3_source(data, "set/deep/", Endpoint=f"{s3_server.endpoint}/")) == ["c.csv"]


@pytest.mark.parametrize("key", ["results/x", "results/", "res*", "", "results/inputs/other/x"])
async def test_results_and_what_others_sent_are_no_inputs_whatever_is_allowed(
    s3_server: S3Server, results: str, key: str
) -> None:
    async with input_places(s3_server, f"s3://{results}", managed=results) as places:
        for source in (s3_source(results, key), SpecConfig(type="s3managed", params={"Key": key})):
            with pytest.raises(InputNotAllowed, match="results of jobs"):
                await places.found(source)


async def test_what_a_bucket_that_holds_results_everywhere_lists_of_them_is_no_input(s3_server: S3Server) -> None:
    job = "j-00000000-0000-4000-8000-000000000001"
    result = f"{job}/e-00000000-0000-4000-8000-000000000002.tar.gz"
    objects = {result: b"r", "data/y": b"2", "inputs/other/z": b"3", f"old/{result}": b"r"}
    bucket = await asyncio.to_thread(new_bucket, s3_server, objects)
    async with input_places(s3_server, f"s3://{bucket}", managed=bucket, key="") as places:
        assert await places.paths(SpecConfig(type="s3managed", params={"Key": "data/"})) == ["y"]
        for key in ("", "*", f"{job}/", result, "j-*", "inputs/other/z", "inp*", "old/", f"old/{result}"):
            with pytest.raises(InputNotAllowed, match="results of jobs") as caught:
                await places.found(s3_source(bucket, key))
            assert "e-0000" not in caught.value.message or key.endswith(result)


async def test_a_service_that_is_away_is_told_and_may_be_asked_again(s3_server: S3Server, data: str) -> None:
    nowhere = f"http://127.0.0.1:{free_ports(1)[0]}"
    async with input_places(s3_server, f"s3://{data}", endpoint=nowhere) as places:
        for key in ("set/a.csv", "set/"):
            with pytest.raises(InputsNotReady) as caught:
                await places.found(s3_source(data, key))
            assert caught.value.retryable


async def test_lists_that_are_too_long_for_a_record_are_stored_by_their_digest_and_known_by_it(
    s3_server: S3Server, data: str, results: str
) -> None:
    bucket = await asyncio.to_thread(new_bucket, s3_server, {f"many/{number:02}": b"x" for number in range(40)})
    entries = (f"s3://{bucket}", f"s3://{data}")
    async with input_places(s3_server, *entries, managed=results) as places:
        long, short = await places.frozen(job_of(s3_source(bucket, "many/"), s3_source(data, "set/")))
        assert (short.listing, len(short.objects), short.count) == ("", 6, 6)
        assert (long.objects, long.count, long.size_bytes) == ((), 40, 40)
        assert long.listing.startswith("results/inputs/default/listings/")
        (again,) = await places.frozen(job_of(s3_source(bucket, "many/")))
        assert again.listing.split("-")[0] == long.listing.split("-")[0]
        assert again.listing != long.listing
        share = (await Listings(places.locations).of(long)).share_of(0)
        assert [each.path for each in share.objects] == [f"{number:02}" for number in range(40)]
        await asyncio.to_thread(put_objects, s3_server, results, {long.listing: gzip.compress(b"[]")})
        with pytest.raises(ListingDamaged, match="is not what was stored"):
            await Listings(places.locations).of(long)
        await asyncio.to_thread(s3_server.client().delete_object, Bucket=results, Key=long.listing)
        with pytest.raises((ListingDamaged, StorageUnavailable)):
            await Listings(places.locations).of(long)
        assert (await places.listings.of(long)).count == 40


async def test_lists_of_several_inputs_share_the_room_of_one_record(
    s3_server: S3Server, data: str, results: str
) -> None:
    async with input_places(s3_server, f"s3://{data}", managed=results) as places:
        frozen = await places.frozen(job_of(*[s3_source(data, "set/")] * 6))
        assert [bool(each.listing) for each in frozen] == [False] * 5 + [True]


async def test_lists_that_nobody_names_are_deleted_where_that_is_allowed(s3_server: S3Server, data: str) -> None:
    rights = ("s3:PutObject", "s3:GetObject", "s3:DeleteObject")
    for allowed, left in ((rights, 0), (rights[:2], 1)):
        results = await asyncio.to_thread(new_bucket, s3_server, None, allowed)
        async with input_places(s3_server, f"s3://{data}", managed=results) as places:
            frozen = await places.frozen(job_of(*[s3_source(data, "set/")] * 6))
            await places.listings.remove(frozen)
        listed = s3_server.client().list_objects_v2(Bucket=results, Prefix="results/inputs/default/listings/")
        assert listed["KeyCount"] == left
