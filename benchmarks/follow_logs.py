"""Whether tasks that are followed live are shown whole: `python -m benchmarks.follow_logs [--runs 500] [--at-once 8]`.

An orchestrator and two nodes run tasks that write a line, sleep for 1.5 s and write another one. Each is followed by
`tarpon job logs -f` from right after its submit, half of them through a relay that cuts every connection 0.4 s after it
was made. Right is who showed both lines, each once, and ended with exit code 0.

Prints one JSON object; `live` are those whose first line was shown well before the last. Takes about a second for each
run on two processors.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.running import end_on_sigterm, run_to_the_end, tell, warn_of_load
from tests.e2e.following import follow_many, wrong
from tests.e2e.stack import Stack
from tests.servers import start_weed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--at-once", type=int, default=8)
    wanted = parser.parse_args()
    end_on_sigterm()
    warn_of_load()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name in ("s3", "stack"):
            (root / name).mkdir()
        s3 = start_weed(root / "s3")
        stack = Stack(root / "stack", s3)
        try:
            stack.start_orchestrator()
            for name in ("node-a", "node-b"):
                stack.start_compute(name)
            answer = {
                "directly": _followed(stack, wanted.runs - wanted.runs // 2, wanted.at_once, is_cut=False),
                "cut": _followed(stack, wanted.runs // 2, wanted.at_once, is_cut=True),
            }
        finally:
            stack.stop()
            s3.stop()
    print(json.dumps(answer, indent=2))
    sys.exit(any(half["wrong"] for half in answer.values()))


def _followed(stack: Stack, runs: int, at_once: int, *, is_cut: bool) -> dict[str, Any]:
    began = time.monotonic()
    shown = run_to_the_end(follow_many(stack.api_port, runs=runs, at_once=at_once, is_cut=is_cut))
    bad = wrong(shown)
    for what, count in bad.items():
        tell(f"{count} x {what}")
    return {
        "runs": runs,
        "live": sum(each.is_live for each in shown),
        "right": runs - bad.total(),
        "wrong": bad.total(),
        "seconds": round(time.monotonic() - began),
    }


if __name__ == "__main__":
    main()
