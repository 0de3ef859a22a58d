"""What every task of a chaos run is: it tells that it runs, outside of Tarpon, and leaves contents that can be checked.

It is started by itself, so it knows the standard library alone (no tests in here).
"""

import hashlib
import os
import subprocess
import sys
import time

BEAT_SECONDS = 0.25
LEFT_SECONDS = 600
DISK_FULL = 28


def main(effects: str, key: str, size: str, exit_code: str, sleep: str, leaves: str) -> None:  # noqa: PLR0917  # argv
    partition = os.environ["TARPON_PARTITION_INDEX"]
    tell(effects, "start", key)
    if leaves == "True":
        subprocess.Popen(["sleep", str(LEFT_SECONDS)], start_new_session=True, stdout=subprocess.DEVNULL)
    until = time.monotonic() + float(sleep)
    while (left := until - time.monotonic()) > 0:
        time.sleep(min(BEAT_SECONDS, left))
        tell(effects, "beat", key)
    content = hashlib.shake_256(f"{key}/{partition}".encode()).digest(int(size))
    try:
        with open("outputs/data", "wb") as file:  # noqa: PTH123  # as little as possible is imported
            file.write(content)
        os.write(1, f"part {partition} of {os.environ['TARPON_PARTITION_COUNT']}\n".encode())
    except OSError:  # a full disk is also the task's to notice; what it leaves is not whole then
        tell(effects, "full", key)
        os._exit(DISK_FULL)
    tell(effects, "end", key)
    sys.exit(int(exit_code))


def tell(effects: str, what: str, key: str) -> None:
    """One line, appended in one piece."""
    execution, partition = os.environ["TARPON_EXECUTION_ID"], os.environ["TARPON_PARTITION_INDEX"]
    line = f"{what} {execution} {key}/{partition} {os.getpid()} {time.time_ns()}\n"
    file = os.open(effects, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(file, line.encode())
    os.close(file)


if __name__ == "__main__":
    main(*sys.argv[1:])
