"""Who loses against another writer is told so at few places: `orchestrator.storage.changes` decides what comes then."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MOST_PLACES = 5


def places(source: str) -> int:
    """How many handlers name the conflict."""
    handlers = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ExceptHandler))
    return sum(handler.type is not None and "RevisionConflict" in ast.unparse(handler.type) for handler in handlers)


def test_a_conflict_is_handled_at_few_places() -> None:
    found = {str(path): places(path.read_text()) for path in (ROOT / "orchestrator").rglob("*.py")}
    assert sum(found.values()) <= MOST_PLACES, {path: number for path, number in found.items() if number}
