"""Links: which file of a result is behind a name that is, or leads through, one."""

import os
import posixpath
from collections.abc import Sequence

from shared.errors import InvalidInput
from shared.extraction.tar_reader import Member, MemberKind
from tarpon.archive.contents import Contents, walk
from tarpon.archive.selection import FileNotInResult, Selection, normal_path

MAX_HOPS = 16


class NotAFile(InvalidInput):
    """What was named is a directory, or a link that leads to no file of the result."""


async def files_behind(contents: Contents, names: set[bytes]) -> dict[bytes, Member]:
    """The files of these names, also where a name is a hard link itself; those that are not there are left out."""
    found: dict[bytes, Member] = {}
    looking = _Targets({name: {name} for name in names}, found)
    for _ in range(MAX_HOPS):
        if not looking.asked:
            break
        await walk(contents, looking.look)
        looking = _Targets(looking.ahead, found)
    return found


class _Targets:
    """Looks for files by names; behind each name stand those for which it is looked for."""

    def __init__(self, asked: dict[bytes, set[bytes]], found: dict[bytes, Member]) -> None:
        self.asked = asked
        self.ahead: dict[bytes, set[bytes]] = {}
        self._found = found

    def look(self, member: Member) -> None:
        origins = self.asked.get(member.name)
        if origins and member.kind is MemberKind.FILE:
            self._found.update(dict.fromkeys(origins, member))
        elif origins and member.kind is MemberKind.HARD_LINK:
            self.ahead.setdefault(member.link_target, set()).update(origins)


async def file_at(contents: Contents, path: str, job: str) -> Member:
    """The file at `path`; links within the result are followed. Raises FileNotInResult and NotAFile."""
    name = os.fsencode(normal_path(path))
    for _ in range(MAX_HOPS):
        step = _Step(name)
        await walk(contents, step.look)
        match step.at:
            case None:
                raise await _not_found(contents, path, job)
            case Member(kind=MemberKind.FILE):
                return step.at
            case Member(kind=MemberKind.HARD_LINK):
                name = step.at.link_target
            case Member(kind=MemberKind.SYMLINK):
                name = _followed(step.at, name, path)
            case _:
                raise NotAFile(
                    f"{path[:160]!r} is a {step.at.kind.value}.", hint=f"Fetch it: tarpon job get {job} {path[:160]!r}"
                )
    raise NotAFile(f"{path[:160]!r} is a link that leads to more than {MAX_HOPS} others.")


async def names_behind(contents: Contents, selection: Selection, found: Sequence[Member]) -> set[bytes]:
    """Where a path is, or leads through, a symbolic link: the links on the way, and what they lead to in the result.

    Such a path counts as found. Raises NotAFile where one that has found nothing leads out of the result.
    """
    links = {member.name for member in found if member.kind is MemberKind.SYMLINK}
    behind: set[bytes] = set()
    for path, has_matched in selection.plain():
        name = os.fsencode(normal_path(path))
        if not name or (has_matched and name not in links):
            continue
        try:
            names = await _trail(contents, name, path)
        except NotAFile:
            if not has_matched:
                raise
            continue  # the link is taken as it is
        if len(names) > 1:
            selection.found(path)
            behind.update(names)
    return behind


async def _trail(contents: Contents, name: bytes, path: str) -> list[bytes]:
    """The symbolic links on the way, and the name behind them; nothing where nothing has it."""
    links: list[bytes] = []
    for _ in range(MAX_HOPS):
        step = _Step(name)
        await walk(contents, step.look)
        if step.at is None:
            return [*links, name] if step.is_folder else []
        if step.at.kind is not MemberKind.SYMLINK:
            return [*links, name]
        links.append(step.at.name)
        name = _followed(step.at, name, path)
    raise NotAFile(f"{path[:160]!r} is a link that leads to more than {MAX_HOPS} others.")


class _Step:
    """Looks for the entry of a name, or for a symbolic link on the way to it."""

    def __init__(self, name: bytes) -> None:
        self.at: Member | None = None
        self.is_folder = False
        """Something is below that name, whether or not it has an entry of its own."""
        self._name = name

    def look(self, member: Member) -> None:
        if member.name == self._name or (
            member.kind is MemberKind.SYMLINK and self._name.startswith(member.name + b"/")
        ):
            self.at = member
        self.is_folder |= member.name.startswith(self._name + b"/")


def _followed(link: Member, name: bytes, path: str) -> bytes:
    target = posixpath.join(posixpath.dirname(link.name), link.link_target)
    followed = posixpath.normpath(target + name[len(link.name) :])
    if followed.startswith((b"/", b"../")) or followed in {b"..", b"."}:
        raise NotAFile(f"{path[:160]!r} is a link that leads out of the result.")
    return followed


async def _not_found(contents: Contents, path: str, job: str) -> FileNotInResult:
    selection = Selection([path])
    near: list[str] = []

    def look(member: Member) -> None:
        if selection.takes(member) and len(near) < 5:
            near.append(os.fsdecode(member.name))

    await walk(contents, look)
    return FileNotInResult(path, job, near or selection.near_matches())
