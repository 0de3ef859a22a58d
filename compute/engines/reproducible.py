"""Reproducible surroundings: what a task with `Reproducible: true` finds alike on every node, in every engine."""

HOST_NAME = "localhost"
"""One that can be looked up everywhere, without a network too."""

UMASK = 0o022
"""As in containers, whose engines set it."""

VARIABLES = {
    "LANG": "C.UTF-8",
    "LC_ALL": "C.UTF-8",
    "PYTHONHASHSEED": "0",
    "SOURCE_DATE_EPOCH": "315532800",
    "TZ": "UTC",
}
"""C.UTF-8 sorts by bytes as C does, and no program takes other letters for errors. The date is the first of 1980: ZIP
knows no earlier one."""
