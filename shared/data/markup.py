"""Tables of HTML for notebooks, in which text of others is text, whatever is in it.

A notebook runs scripts of what it shows, and sets what looks like formulas, which may hold links: so every text is
escaped, none is in an attribute, and the classes keep MathJax away.
"""

import html
from collections.abc import Iterable, Sequence

from shared.data.plain_text import one_line

MOST_CELL = 500


def table(rows: Iterable[Sequence[str]], *, heading: Sequence[str] = (), title: str = "") -> str:
    """One row a line; the first cell of each is its name where there is no heading."""
    head = f"<tr>{''.join(_cell('th', each) for each in heading)}</tr>" if heading else ""
    first = "td" if heading else "th"
    body = "".join(
        f"<tr>{''.join(_cell('td' if at else first, each) for at, each in enumerate(row))}</tr>" for row in rows
    )
    titled = f"<div><b>{_text(title)}</b></div>" if title else ""
    return f'<div class="tex2jax_ignore mathjax_ignore">{titled}<table>{head}{body}</table></div>'


def _cell(tag: str, text: str) -> str:
    return f'<{tag} style="text-align:left">{_text(text)}</{tag}>'


def _text(text: str) -> str:
    cut = text if len(text) <= MOST_CELL else f"{text[:MOST_CELL]}..."
    return html.escape(one_line(cut))
