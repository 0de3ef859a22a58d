"""What replicas are compared by comes from their manifests, which are not trusted, and is told where it differs."""

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from compute.archive.content_stream import ContentStream
from compute.archive.manifest import ContentManifest
from orchestrator.dispatch.answers import MOST_PATHS, _answer, _differing
from shared.jobs.replicas.verification import PATHS, RESULT, STDOUT
from shared.protocol.published_facts import PublishedFacts

FILES = {"exitCode": "0", "outputs/a": "one", "outputs/b/c": "two", "stderr": "", "stdout": "hello"}


class Made:
    """The manifest of these files."""

    def __init__(self, scratch: Path, files: dict[str, str], *, mode: int = 0o644) -> None:
        root = scratch / f"root-{len(list(scratch.iterdir()))}"
        for name, content in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
            path.chmod(mode)
        with closing(ContentManifest(scratch)) as written:
            written.add([each.entry for each in ContentStream(root).entries()])
            written.finish()
            with written.content() as manifest:
                self.manifest = bytes(manifest)
            self.told = PublishedFacts(size_bytes=1, sha256="", content_digest=written.content_digest)

    def answer(self, of: str) -> str:
        return _answer(self.manifest, self.told, of)


@pytest.mark.parametrize(
    ("of", "changed"),
    [
        (RESULT, {"outputs/a", "outputs/b/c", "stdout", "stderr", "exitCode"}),
        (PATHS, {"outputs/a", "outputs/b/c"}),
        (STDOUT, {"stdout"}),
    ],
)
def test_what_is_not_compared_makes_no_difference(tmp_path: Path, of: str, changed: set[str]) -> None:
    own = Made(tmp_path, FILES).answer(of)
    assert own
    assert own == Made(tmp_path, FILES).answer(of)
    assert {name for name in FILES if Made(tmp_path, FILES | {name: "else"}).answer(of) != own} == changed


def test_modes_and_names_are_compared_too(tmp_path: Path) -> None:
    own = Made(tmp_path, FILES).answer(PATHS)
    assert own != Made(tmp_path, FILES, mode=0o600).answer(PATHS)
    assert own != Made(tmp_path, FILES | {"outputs/d": ""}).answer(PATHS)


def test_a_node_that_told_another_digest_than_its_manifest_has_gives_no_answer(tmp_path: Path) -> None:
    own, other = Made(tmp_path, FILES), Made(tmp_path, FILES | {"stdout": "else"})
    assert not _answer(own.manifest, other.told, RESULT)
    assert not _answer(own.manifest[:-9], own.told, RESULT)
    assert not _answer(b"nonsense", own.told, RESULT)


@pytest.mark.parametrize(
    ("other", "of", "paths"),
    [
        ({"stdout": "else"}, RESULT, ["stdout"]),
        ({"stdout": "else"}, PATHS, []),
        ({"outputs/a": "else", "outputs/b/d": "", "stdout": "x"}, RESULT, ["outputs/a", "outputs/b/d", "stdout"]),
        ({f"outputs/b/{number}": "" for number in range(9)}, PATHS, [f"outputs/b/{n}" for n in range(MOST_PATHS)]),
    ],
)
def test_the_first_paths_that_differ_are_told(tmp_path: Path, other: dict[str, Any], of: str, paths: list[str]) -> None:
    one, two = Made(tmp_path, FILES).manifest, Made(tmp_path, FILES | other).manifest
    assert _differing(one, two, of) == _differing(two, one, of) == paths


def test_a_path_is_told_as_it_may_be_printed(tmp_path: Path) -> None:
    one, two = Made(tmp_path, FILES).manifest, Made(tmp_path, FILES | {"outputs/\x1b[2J": ""}).manifest
    (told,) = _differing(one, two, PATHS)
    assert told.isprintable()
