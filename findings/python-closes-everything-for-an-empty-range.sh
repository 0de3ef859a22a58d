#!/usr/bin/env bash
# os.closerange(0, 0) closes every descriptor of the process.
#
# Guess beforehand: as the documentation has it, closerange(low, high) closes descriptors from low (inclusive) to high
#   (exclusive), so an empty range closes none.
# Seen (CPython 3.11 to 3.13 on Linux with close_range(2)): closerange(1, 1) and closerange(5, 5) close nothing, and
#   closerange(0, 0) closes all. Python passes high - 1 to close_range, which takes unsigned numbers: -1 is the largest.
# Why it matters: a program that closes the gaps between what it keeps, as one that has just forked does, begins at 0 and
#   loses its standard streams too, and with them any word about it.
# Source: docs.python.org, os.closerange: "Close all file descriptors from fd_low (inclusive) to fd_high (exclusive)".
set -euo pipefail
seen=$(python3 - <<'PYTHON'
import os
import sys

def left_after(low, high):
    reading, writing = os.pipe()
    told = os.dup2(writing, 60)
    pid = os.fork()
    if not pid:
        os.closerange(low, high)
        try:
            os.write(told, b"open")
        except OSError:
            os._exit(9)
        os._exit(0)
    os.close(writing)
    os.close(told)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.close(reading)
    return "open" if code == 0 else "closed"

print(*(left_after(each, each) for each in (1, 5, 0)))
PYTHON
)
echo "guessed: open open open"
echo "seen:    $seen"
[ "$seen" = "open open closed" ]
