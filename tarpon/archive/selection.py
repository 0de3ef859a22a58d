"""The selection of entries of a result, by the paths that a user gave."""

import fnmatch
import os
import posixpath
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from difflib import get_close_matches

from msgspec.structs import replace

from shared.errors import InvalidInput, NotFound
from shared.extraction.block_reading import TooMuchChosen
from shared.extraction.tar_reader import Member, MemberKind

NEAR_MATCHES = 5
MAX_CHOSEN = 1_000_000
"""Each takes some hundred bytes of memory. A whole result is placed as it arrives, however many entries it has."""
_SAMPLE = 2000
"""As many names are compared letter by letter with a path that matches nothing."""


class FileNotInResult(NotFound):
    """Nothing in a result has this name."""

    def __init__(self, path: str, job: str, near: Sequence[str] = ()) -> None:
        meant = f"Did you mean {', '.join(map(repr, near))}? " if near else ""
        super().__init__(
            f"Nothing in the result of job {job} matches {path[:160]!r}.",
            hint=f"{meant}`tarpon job files {job}` lists what there is.",
        )


class Selection:
    """Paths as a user gives them: a file, a directory with all that is below it, or a pattern as in a shell.

    A pattern is compared with whole paths, and `*` also stands for slashes. A path that ends with a slash is a
    directory only. What is on disk under such a name literally is meant too. Raises InvalidInput.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        self._wanted = [_Wanted(path) for path in paths]

    def __repr__(self) -> str:
        return f"<Selection {[each.path for each in self._wanted]}>"

    def takes(self, member: Member) -> bool:
        name = os.fsdecode(member.name)
        if member.kind is MemberKind.DIRECTORY:
            name += "/"
        taken = False
        for each in self._wanted:
            if each.pattern.fullmatch(name):
                each.has_matched = taken = True
            elif not each.has_matched:
                each.notice(name)
        return taken

    def plain(self) -> Iterator[tuple[str, bool]]:
        """Each path that was given, and whether it has matched something."""
        return ((each.path, each.has_matched) for each in self._wanted)

    def found(self, path: str) -> None:
        """What this path means was found in another way."""
        for each in self._wanted:
            each.has_matched |= each.path == path

    def near_matches(self) -> list[str]:
        """Names that come close to the paths that have matched nothing."""
        return [name for each in self._wanted if not each.has_matched for name in each.near_matches()]

    def check(self, job: str) -> None:
        """Raise FileNotInResult for the first path that has matched nothing."""
        for each in self._wanted:
            if not each.has_matched:
                raise FileNotInResult(each.path, job, each.near_matches())


class _Wanted:
    """One path that is looked for, and what comes close to it."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.pattern = _pattern(path)
        self.has_matched = False
        self._plain = path.strip("/").lower()
        self._last = self._plain.rpartition("/")[2]
        self._near: list[str] = []
        self._sample: list[str] = []

    def notice(self, name: str) -> None:
        lowered = name.strip("/").lower()
        if len(self._near) < NEAR_MATCHES and (lowered.rpartition("/")[2] == self._last or self._plain in lowered):
            self._near.append(name)
        elif len(self._sample) < _SAMPLE:
            self._sample.append(name)

    def near_matches(self) -> list[str]:
        return self._near or get_close_matches(self.path, self._sample, n=NEAR_MATCHES)


def _pattern(path: str) -> re.Pattern[str]:
    plain = normal_path(path)
    if not plain:
        return re.compile(r".*", re.DOTALL)
    glob = fnmatch.translate(plain)[:-2]  # without its sign for the end
    below = r"/.*" if path.endswith("/") else r"(?:/.*)?"
    return re.compile(f"(?:{re.escape(plain)}|{glob}){below}", re.DOTALL)


def normal_path(path: str) -> str:
    """A path within a result, without needless parts; empty for the result itself. Raises InvalidInput."""
    if path.startswith("/") or ".." in path.split("/") or "\x00" in path:
        raise InvalidInput(
            f"{path[:160]!r} is not a path within a result.", hint="Give it as `tarpon job files` shows it."
        )
    plain = posixpath.normpath(path) if path else ""
    return "" if plain == "." else plain


class Chosen:
    """Given all entries in the order of the archive, keeps those that are meant, and the directories they are in.

    Those of the names in `also`, and what is below them, are meant too. Raises TooMuchChosen.
    """

    def __init__(self, selection: Selection, also: Collection[bytes] = ()) -> None:
        self.members: list[Member] = []
        self._selection = selection
        self._also = frozenset(also)
        self._below = tuple(name + b"/" for name in also)
        self._above: list[Member] = []
        """Directories on the way to the present entry that nobody has asked for."""

    def __repr__(self) -> str:
        return f"<Chosen {len(self.members)} by {self._selection!r}>"

    def add(self, member: Member) -> None:
        while self._above and not member.name.startswith(self._above[-1].name + b"/"):
            self._above.pop()
        if self._selection.takes(member) or member.name in self._also or member.name.startswith(self._below):
            self.members += [*self._above, member]
            self._above.clear()
            if len(self.members) > MAX_CHOSEN:
                raise TooMuchChosen(f"more than {MAX_CHOSEN:,} entries")
        elif member.kind is MemberKind.DIRECTORY:
            self._above.append(member)


def missing_targets(found: Sequence[Member]) -> set[bytes]:
    """The names behind hard links that are not among `found`."""
    names = {member.name for member in found if member.kind is MemberKind.FILE}
    return {member.link_target for member in found if member.kind is MemberKind.HARD_LINK} - names


def standing_alone(found: Sequence[Member], targets: Mapping[bytes, Member]) -> list[Member]:
    """The same entries in the order in which they can be made, without hard links to what is not among them.

    Of several links to a file that is not wanted under its first name, the first becomes that file. `targets` are the
    files by those names. First come directories, then files in the order of their contents, then links.
    """
    files = {member.name: member for member in found if member.kind is MemberKind.FILE}
    instead: dict[bytes, bytes] = {}
    links: list[Member] = []
    for member in found:
        if member.kind is not MemberKind.HARD_LINK:
            continue
        target = member.link_target
        if target not in files and target not in instead and target in targets:
            content = targets[target]
            made = replace(
                member,
                kind=MemberKind.FILE,
                link_target=b"",
                size_bytes=content.size_bytes,
                content_at=content.content_at,
                xattrs=content.xattrs,
            )
            instead[target] = member.name
            files[member.name] = made
        else:
            links.append(replace(member, link_target=instead.get(target, target)))
    folders = [member for member in found if member.kind is MemberKind.DIRECTORY]
    others = [member for member in found if member.kind not in _PLACED]
    return [*folders, *sorted(files.values(), key=lambda member: member.content_at), *others, *links]


_PLACED = frozenset({MemberKind.DIRECTORY, MemberKind.FILE, MemberKind.HARD_LINK})
