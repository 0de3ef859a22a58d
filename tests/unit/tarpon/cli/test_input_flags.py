from typing import Any

import pytest

from shared.jobs.spec import InputSource, SpecConfig
from tarpon.cli.job.input_flags import LocalInput, read_inputs


def one(text: str) -> tuple[str, dict[str, Any], str]:
    (source,), local = read_inputs([text])
    assert local == ()
    return source.source.type, source.source.params, source.target


S3 = {"Bucket": "b", "Key": "dir/file-001.txt"}


@pytest.mark.parametrize(
    ("text", "kind", "params", "target"),
    [
        ("s3://b/dir/file-001.txt", "s3", S3, "/inputs"),
        ("s3://b/dir/:/data", "s3", {"Bucket": "b", "Key": "dir/"}, "/data"),
        ("s3://b/dir/*,dst=/data", "s3", {"Bucket": "b", "Key": "dir/*"}, "/data"),
        ("s3://b/dir:file:001.txt:/mount/path", "s3", {"Bucket": "b", "Key": "dir:file:001.txt"}, "/mount/path"),
        ("s3://b/a%20b:/x", "s3", {"Bucket": "b", "Key": "a b"}, "/x"),
        ("s3://b", "s3", {"Bucket": "b"}, "/inputs"),
        (
            "s3://b/dir/file-001.txt,opt=endpoint=http://127.0.0.1:9000,opt=region=us-east-1",
            "s3",
            S3 | {"Endpoint": "http://127.0.0.1:9000", "Region": "us-east-1"},
            "/inputs",
        ),
        (
            "src=s3://b/dir/file-001.txt,target=/x,option=version-id=7,opt=checksum_256=abc,opt=filter=^a=b$",
            "s3",
            S3 | {"VersionID": "7", "ChecksumSHA256": "abc", "Filter": "^a=b$"},
            "/x",
        ),
        ("s3://b/dir/file-001.txt:/first,dst=/last", "s3", S3, "/last"),
        ('"src=s3://b/a,b",dst=/x', "s3", {"Bucket": "b", "Key": "a,b"}, "/x"),
        ("https://example.com:9000/file:/m", "urlDownload", {"URL": "https://example.com:9000/file"}, "/m"),
        ("https://example.com:9000/file", "urlDownload", {"URL": "https://example.com:9000/file"}, "/inputs"),
        ("http://h/f?a=b:/m", "urlDownload", {"URL": "http://h/f?a=b"}, "/m"),
        ("src=https://h:9000/file,dst=/m", "urlDownload", {"URL": "https://h:9000/file"}, "/m"),
        ("file:///etc/data:/m", "localDirectory", {"SourcePath": "/etc/data"}, "/m"),
        ("file:/etc/data", "localDirectory", {"SourcePath": "/etc/data"}, "/inputs"),
        ("file:/etc/data:/m", "localDirectory", {"SourcePath": "/etc/data"}, "/m"),
        ("file:///d,opt=rw=false", "localDirectory", {"SourcePath": "/d"}, "/inputs"),
        ("file:///d,opt=read-write=true", "localDirectory", {"SourcePath": "/d", "ReadWrite": True}, "/inputs"),
        ("job:j-1:/m", "result", {"Job": "j-1"}, "/m"),
        ("job:prepare/outputs/a.csv:/m", "result", {"Job": "prepare", "Paths": ["outputs/a.csv"]}, "/m"),
        ("upload:train-1:/m", "upload", {"Data": "train-1"}, "/m"),
        ("ipfs://Qm1:/m", "ipfs", {"CID": "Qm1"}, "/m"),
    ],
)
def test_a_uri_becomes_a_source(text: str, kind: str, params: dict[str, Any], target: str) -> None:
    assert one(text) == (kind, params, target)


@pytest.mark.parametrize(
    ("text", "path", "target"),
    [
        ("data:/inputs", "data", "/inputs"),
        ("data", "data", "/inputs"),
        ("./file:/t", "./file", "/t"),
        ("./a:b:/t", "./a:b", "/t"),
        ("/abs/dir/:/t", "/abs/dir/", "/t"),
        ("job:/t", "job", "/t"),
        ("upload:/t", "upload", "/t"),
        ("src=my file,dst=/t", "my file", "/t"),
        ("a=b:/t", "a=b", "/t"),
    ],
)
def test_what_is_no_uri_is_a_path_of_this_machine(text: str, path: str, target: str) -> None:
    assert read_inputs([text]) == ((), (LocalInput(path, target),))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "names nothing to read"),
        ("dst=/x", "names nothing to read"),
        ("src=s3://b/k,y=/m", "'y' is not known"),
        ("s3://b/k,what", "is not KEY=VALUE"),
        ("s3://b/k,opt=colour=red", "opt=colour is not known; there are endpoint"),
        ("https://h/f,opt=a=b", "opt=a is not known here"),
        ("file:///f,opt=a=b", "opt=a is not known here"),
        ("git://h/r:/m", "git:// is not a source of inputs; there are s3, http, https, file, job, upload"),
        ("data:/t,opt=a=b", "takes no options"),
    ],
)
def test_what_cannot_be_read_is_told(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        read_inputs([text])


def test_the_order_stays() -> None:
    sources, local = read_inputs(["s3://b/1", "x", "s3://b/2", "y:/z"])
    assert [each.source.params["Key"] for each in sources] == ["1", "2"]
    assert [each.path for each in local] == ["x", "y"]
    assert sources[0] == InputSource(source=SpecConfig(type="s3", params={"Bucket": "b", "Key": "1"}), target="/inputs")
