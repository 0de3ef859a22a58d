"""Images of the example's engine: unpacked once, behind walls, and kept within bounds."""

import hashlib
import io
import tarfile
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from tests.engine import BUSYBOX, busybox_tar
from tests.outside_engines import EXAMPLE
from tests.programs import require_program
from tests.sandbox import need_sandbox


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Any:
    need_sandbox()
    require_program(str(BUSYBOX))
    monkeypatch.syspath_prepend(str(EXAMPLE))
    return import_module("tarpon_rootfs.images")


@pytest.fixture
def unpack(example: Any, tmp_path: Path) -> Callable[..., Path]:
    """What a tar becomes that is an input."""
    (tmp_path / "kept").mkdir()
    images = example.Images(tmp_path / "kept", None, most_images=2, most_bytes=20_000_000)

    def unpacked(content: bytes, name: str = "given") -> Path:
        tar = tmp_path / f"{name}.tar"
        tar.write_bytes(content)
        with images.unpacked(example.RootfsParams(image="/image.tar", entrypoint=("sh",)), tar) as root:
            found: Path = root
            return found

    return unpacked


def tar_of(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for member, content in members:
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def link(name: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = tarfile.SYMTYPE, target
    return member, b""


def test_an_image_is_unpacked_once_under_its_digest(unpack: Callable[..., Path]) -> None:
    content = busybox_tar()
    root = unpack(content)
    assert root.name == hashlib.sha256(content).hexdigest()
    (root / "mark").touch()
    assert (unpack(content, "again") / "mark").exists()
    assert (root / "bin" / "sh").readlink() == Path("busybox")


def test_the_longest_unused_go_where_there_are_too_many(unpack: Callable[..., Path]) -> None:
    contents = [tar_of((tarfile.TarInfo("which"), b"%d" % number)) for number in range(3)]
    roots = [unpack(content, f"n{number}") for number, content in enumerate(contents)]
    assert [root.exists() for root in roots] == [False, True, True]


@pytest.mark.parametrize("name", ["../outside", "/outside", "way/outside"])
def test_nothing_is_written_beside_an_image(
    example: Any, unpack: Callable[..., Path], tmp_path: Path, name: str
) -> None:
    away = tmp_path / "away"
    away.mkdir()
    hostile = tar_of(link("way", str(away)), (tarfile.TarInfo(name), b"x"))
    with suppress(example.ImageUnusable):
        unpack(hostile)
    assert not list(away.iterdir())
    assert not list(tmp_path.rglob("kept/outside"))
    assert not Path("/outside").exists()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"no tar at all" * 100, "is no tar"),
        (tar_of((tarfile.TarInfo("large"), bytes(20_000_001))), "more than 20,000"),
    ],
    ids=["no tar", "large"],
)
def test_what_is_no_image_is_told_and_leaves_nothing(
    example: Any, unpack: Callable[..., Path], tmp_path: Path, content: bytes, why: str
) -> None:
    with pytest.raises(example.ImageUnusable, match=why):
        unpack(content)
    assert not list((tmp_path / "kept").iterdir())
