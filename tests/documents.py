"""Documents of the checkout, their blocks and commands, for tests that try these (no tests in here)."""

import re
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

ROOT = Path(__file__).resolve().parents[1]
PAGES = tuple(sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md")))
DOCUMENTS = (
    *sorted(path.name for path in ROOT.glob("*.md")),
    *PAGES,
    "benchmarks/README.md",
    "deploy/README.md",
    "findings/README.md",
)

_BLOCK = re.compile(r"^(?P<indent> *)```(?P<language>\S*)\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL)
_ASSIGNMENTS = re.compile(r"(?:[A-Z_]+=\S+\s+)*")


def text_of(document: str) -> str:
    return (ROOT / document).read_text(encoding="utf-8")


def all_text() -> str:
    return "\n".join(map(text_of, DOCUMENTS))


def blocks(*languages: str) -> list[str]:
    """The fenced blocks of all documents in one of these languages."""
    found = (match for document in DOCUMENTS for match in _BLOCK.finditer(text_of(document)))
    return [dedent(match["text"]) for match in found if match["language"] in languages]


def without_blocks(document: str) -> str:
    return _BLOCK.sub("", text_of(document))


def codes() -> Iterator[str]:
    """What stands between backticks within the text."""
    for document in DOCUMENTS:
        yield from re.findall(r"`([^`\n]+)`", without_blocks(document))


def command_lines() -> Iterator[str]:
    """Every line of a shell, from blocks and from code within the text, without variables before the command."""
    for block in blocks("bash", "console"):
        for line in block.replace("\\\n", " ").splitlines():
            yield _ASSIGNMENTS.sub("", line.removeprefix("$ "), count=1)
    yield from codes()


def anchors(document: str) -> Iterator[str]:
    """Of the headings, as code hosts and the site name them."""
    seen: dict[str, int] = {}
    for heading in re.findall(r"^#+ (.+)$", without_blocks(document), re.MULTILINE):
        anchor = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        seen[anchor] = seen.get(anchor, -1) + 1
        yield f"{anchor}-{seen[anchor]}" if seen[anchor] else anchor
