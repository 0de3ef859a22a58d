"""What a job may say that its task works on, and what makes it impossible."""

import base64
from typing import Any

import pytest

from shared.errors import InvalidJob
from shared.jobs.inputs.kinds import InlineInputParams, S3InputParams, is_managed, kind_of, look, read_params, sha256_of
from shared.jobs.inputs.rules import MAX_INPUTS, inputs_problems, normalised_input
from shared.jobs.spec import InputSource, ResultPath, SecretFile, SpecConfig, Task

INLINE = SpecConfig(type="inline", params={"Content": "x"})


def source(kind: str, **params: Any) -> SpecConfig:
    return SpecConfig(type=kind, params=params)


def told(*inputs: InputSource, **task: Any) -> list[str]:
    return list(inputs_problems(Task(name="main", input_sources=tuple(map(normalised_input, inputs)), **task)))


def at(*targets: str) -> tuple[InputSource, ...]:
    return tuple(InputSource(source=INLINE, target=target) for target in targets)


class TestTargets:
    def test_inputs_beside_each_other_are_possible(self) -> None:
        assert told(*at("/in/a", "/in/b", "/inside"), result_paths=(ResultPath(name="o", path="/out"),)) == []

    @pytest.mark.parametrize(
        ("target", "problem"),
        [
            ("", "is missing"),
            ("/", "is the whole file system"),
            ("in", "must be absolute"),
            ("/a/../b", "must be absolute and without `..`"),
            ("/proc/x", "is the kernel's"),
            ("/outputs", "where tasks write results"),
            ("/outputs/in", "where tasks write results"),
            ("/etc/hosts", "that Tarpon itself writes"),
            ("/out", "a result path"),
            ("/out/in", "a result path"),
            ("/s", "a secret"),
        ],
    )
    def test_a_target_that_cannot_be(self, target: str, problem: str) -> None:
        (found,) = told(
            *at(target),
            result_paths=(ResultPath(name="o", path="/out/here"), ResultPath(name="p", path="/out")),
            secrets=(SecretFile(name="s", path="/s/key"),),
        )
        assert found.startswith("Tasks[0].InputSources[0].Target")
        assert problem in found

    @pytest.mark.parametrize("second", ["/in", "/in/", "/in/deeper", "//in/./x"])
    def test_equal_and_nested_targets_are_refused(self, second: str) -> None:
        (found,) = told(*at("/in", second))
        assert found.startswith("Tasks[0].InputSources[1].Target")
        assert "another input" in found

    def test_there_is_a_bound(self) -> None:
        (found,) = told(*at(*(f"/in/{number}" for number in range(MAX_INPUTS + 1))))
        assert "at most 64" in found


class TestAliases:
    def test_one_that_is_there_twice_is_refused(self) -> None:
        inputs = [InputSource(source=INLINE, target=f"/{each}", alias=each) for each in ("a", "b", "A")]
        assert told(*inputs) == ["Tasks[0].InputSources[2].Alias 'A' is there twice."]

    def test_one_that_is_no_name_is_refused(self) -> None:
        (found,) = told(InputSource(source=INLINE, target="/a", alias="a b"))
        assert found.startswith("Tasks[0].InputSources[0].Alias 'a b' may have")


class TestKinds:
    def test_a_kind_is_known_in_any_case(self) -> None:
        assert [kind_of(source(each)) for each in ("S3", "urldownload", "local", "nix")] == [
            "s3",
            "urlDownload",
            "localDirectory",
            "",
        ]
        assert normalised_input(InputSource(source=source(" URLDownload "))).source.type == "urlDownload"

    def test_who_looks_them_up(self) -> None:
        found = {"s3", "s3managed", "upload", "result", "inline", "urlDownload", "local", "x"}
        assert {each for each in found if is_managed(source(each))} == {"s3", "s3managed", "upload", "result"}

    def test_a_kind_that_was_probably_meant(self) -> None:
        (found,) = told(InputSource(source=source("s3manged"), target="/in"))
        assert found.endswith("is not a kind of input; did you mean s3managed?")

    @pytest.mark.parametrize(
        ("given", "problem"),
        [
            (source("s3", Key="a"), ".Bucket is missing."),
            (source("s3", Bucket="b", Key="a/../b"), ".Key 'a/../b' has a part that is `.` or `..`"),
            (source("s3", Bucket="b", Key="a", Filter="x"), ".Filter is for a Key that is a prefix"),
            (source("s3", Bucket="b", Key="a/", VersionID="1"), ".VersionID and ChecksumSHA256 are for one object"),
            (source("s3", Bucket="b", Key="a", ChecksumSHA256="zz"), ".ChecksumSHA256 'zz' is no SHA-256"),
            (source("s3", Bucket="b", Endpoint="ftp://x"), ".Endpoint 'ftp://x' is not an http"),
            (source("s3", Bucket="b", Key="k" * 1025), ".Key is too long"),
            (source("s3managed", Key="a/", Partition={"Type": "even"}), ".Partition.Type 'even' is not known"),
            (source("s3managed", Key="a/", Partition={"Type": "regex"}), ".Partition.Pattern is missing"),
            (source("s3managed", Partition={"Type": "substring", "StartIndex": 3}), ".Partition needs 0 <= StartIndex"),
            (source("s3managed", Partition={"Type": "date"}), ".Partition.DateFormat is missing"),
            (source("upload"), ".Data is missing"),
            (source("result"), ".Job is missing"),
            (source("result", Job="j", Paths=["a/../b"]), ".Paths: 'a/../b' is not the path"),
            (source("inline"), " needs either Content or URL."),
            (source("inline", Content="a", URL="data:,b"), " needs either Content or URL."),
            (source("inline", URL="http://x"), ".URL is not a `data:` URL."),
            (source("inline", URL="data:;base64,!"), ".URL is not a `data:` URL."),
            (source("inline", Content="x" * 65_537), " holds 65,537 bytes"),
            (source("urlDownload"), ".URL is missing."),
            (source("urlDownload", URL="ftp://x/y"), ".URL is not an http:// or https:// address."),
            (source("urlDownload", URL="https://a:b@x/y"), ".URL has a name or password in it"),
            (source("urlDownload", URL="https://[x/y"), ".URL is not a URL."),
            (source("local", SourcePath="data"), ".SourcePath 'data' is not an absolute path"),
            (source("local", SourcePath="/a/../b"), ".SourcePath '/a/../b' is not an absolute path"),
            (source("local", SourcePath="/a", CreateAs="dir"), ".CreateAs 'dir' is not possible"),
        ],
        ids=str,
    )
    def test_parameters_that_cannot_be(self, given: SpecConfig, problem: str) -> None:
        (found,) = told(InputSource(source=given, target="/in"))
        assert found.startswith(f"Tasks[0].InputSources[0].Source.Params{problem}")

    @pytest.mark.parametrize(
        ("engine", "is_possible"),
        [("docker", True), ("of-somebody", True), ("process", False), ("wasm", True), ("noop", False)],
    )
    def test_a_folder_of_a_node_may_be_written_to_by_some_engines(self, engine: str, *, is_possible: bool) -> None:
        given = InputSource(source=source("local", SourcePath="/a", READWRITE="true"), target="/in")
        task = Task(name="main", engine=SpecConfig(type=engine), input_sources=(given,))
        found = list(inputs_problems(task))
        why = f"InputSources[0].Source.Params.ReadWrite is not possible: tasks of the engine {engine} only read."
        assert found == ([] if is_possible else [f"Tasks[0].{why}"])

    def test_keys_may_be_in_any_case_and_null(self) -> None:
        found = look(source("s3", bucket="b", KEY="data/", filter=None, partition={"type": "Regex", "PATTERN": "a"}))
        assert found.problems == ()
        read = read_params(source("s3", **found.params), S3InputParams)
        assert (read.bucket, read.key, read.partition.by) == ("b", "data/", "regex")

    def test_reading_what_is_wrong_raises(self) -> None:
        with pytest.raises(InvalidJob):
            read_params(source("s3"), S3InputParams)

    @pytest.mark.parametrize(("key", "is_prefix", "prefix"), [("a", False, "a"), ("a/", True, "a/"), ("a*", True, "a")])
    def test_which_keys_are_prefixes(self, key: str, is_prefix: bool, prefix: str) -> None:  # noqa: FBT001
        params = S3InputParams(bucket="b", key=key)
        assert (params.is_prefix, params.prefix) == (is_prefix, prefix)


class TestContents:
    @pytest.mark.parametrize(
        ("params", "read"),
        [
            ({"Content": "hä"}, ("text/plain", "hä".encode())),
            ({"URL": "data:,a%20b"}, ("", b"a b")),
            ({"URL": "data:application/gzip;base64,AAE="}, ("application/gzip", b"\0\1")),
        ],
    )
    def test_what_is_inline_is_read(self, params: dict[str, str], read: tuple[str, bytes]) -> None:
        assert read_params(source("inline", **params), InlineInputParams).read() == read

    def test_a_checksum_is_read_in_hex_and_base64(self) -> None:
        content = bytes(range(32))
        assert sha256_of(content.hex()) == sha256_of(base64.b64encode(content).decode()) == content.hex()
        assert sha256_of("AAAA") == ""
