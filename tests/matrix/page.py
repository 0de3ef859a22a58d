"""How what was seen becomes tables in docs/compatibility.md, between markers, and is kept beside them as JSON."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from tests.matrix.cells import END, Cell, Column, Outcome, merged

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "compatibility.md"
SEEN = Path(__file__).with_name("seen.json")
UNEXPLAINED = "Nobody has explained this yet."

COMPARED = frozenset({"client"})
"""Parts with two peers, of which the first is the measure for the second."""

Seen = dict[str, list[Column]]
"""The columns of each part."""
Explanations = Mapping[tuple[str, str], str]
"""Why a check fails with a peer."""


def load(path: Path = SEEN) -> Seen:
    return msgspec.json.decode(path.read_bytes(), type=Seen) if path.exists() else {}


def save(seen: Seen, path: Path = SEEN) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(seen), indent=1) + b"\n")


def write(part: str, columns: Sequence[Column], explanations: Mapping[str, Explanations]) -> None:
    """Into both files, beside what is there."""
    seen = load()
    seen[part] = merged(seen.get(part, []), columns)
    save(seen)
    show(seen, explanations)


def show(seen: Seen, explanations: Mapping[str, Explanations]) -> None:
    content = PAGE.read_text(encoding="utf-8")
    for part, columns in seen.items():
        content = placed(content, part, shown(part, columns, explanations[part]))
    PAGE.write_text(content, encoding="utf-8")


def shown(part: str, columns: Sequence[Column], explanations: Explanations) -> str:
    """What stands between the markers of the part."""
    found = table(columns, explanations)
    return f"{compared(*columns)}\n\n{found}" if part in COMPARED and len(columns) == 2 else found


def compared(first: Column, second: Column) -> str:
    works = {check for check, cell in first.cells.items() if cell.outcome is Outcome.OK and check != END}
    too = [check for check in works if second.cells[check].outcome is Outcome.OK]
    return f"Of {len(works)} commands that work with {first.peer}, {len(too)} work with {second.peer}."


def table(columns: Sequence[Column], explanations: Explanations) -> str:
    """A line for each check, a column for each peer; what failed is told below, with the reason."""
    checks = list(dict.fromkeys(name for column in columns for name in column.cells))
    notes: list[str] = []
    lines = [
        f"| | {' | '.join(map(_title, columns))} |",
        f"|---|{'---|' * len(columns)}",
        *(
            f"| {check} | {' | '.join(_cell(each, check, notes, explanations) for each in columns)} |"
            for check in checks
        ),
    ]
    return "\n".join([*lines, *(["", *notes] if notes else [])])


def _title(column: Column) -> str:
    return " ".join([column.peer, *([column.version] if column.version else []), f"({column.day.isoformat()})"])


def _cell(column: Column, check: str, notes: list[str], explanations: Explanations) -> str:
    cell = column.cells.get(check)
    if cell is None:
        return ""
    if cell.outcome is Outcome.FAILS:
        why = explanations.get((column.peer, check), UNEXPLAINED)
        notes.append(f"{len(notes) + 1}. {column.peer}, {check}: {cell.note} {why}")
        return f"**fails** ({len(notes)})"
    return str(cell if column.is_here else cell.outcome)


def unexplained(columns: Sequence[Column], explanations: Explanations) -> list[tuple[str, str]]:
    """Which peers fail at which checks without a reason."""

    def is_open(column: Column, check: str, cell: Cell) -> bool:
        return cell.outcome is Outcome.FAILS and (column.peer, check) not in explanations

    return [(each.peer, check) for each in columns for check, cell in each.cells.items() if is_open(each, check, cell)]


def placed(page: str, part: str, content: str) -> str:
    """The page with the content between the part's two markers."""
    begin, end = f"<!-- {part}: begin -->\n", f"<!-- {part}: end -->"
    before, found, rest = page.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"the page has no place for the table of {part}")
    return f"{before}{begin}\n{content}\n\n{end}{after}"
