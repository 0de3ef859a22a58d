"""Runs cells as a real notebook and prints what it shows: `notebook_runner.py`, with a list of cells in JSON on stdin.

It runs in an environment that has nbclient and ipykernel, and imports nothing of ours.
"""

# mypy: ignore-errors

import json
import sys
from typing import Any

import nbformat
from nbclient import NotebookClient


class Watching(NotebookClient):
    """Keeps each HTML that was shown, also what was replaced since."""

    shown: list[str]

    def process_message(self, msg: dict[str, Any], cell: Any, cell_index: int) -> Any:
        if html := msg["content"].get("data", {}).get("text/html"):
            self.shown.append(html)
        return super().process_message(msg, cell, cell_index)


def main() -> None:
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(each) for each in json.load(sys.stdin)])
    client = Watching(book, timeout=60, kernel_name="python3")
    client.shown = []
    client.execute()
    json.dump({"shown": client.shown, "cells": [cell["outputs"] for cell in book["cells"]]}, sys.stdout)


if __name__ == "__main__":
    main()
