"""A Tarpon of real processes under load, with faults of every kind at random: `python -m tests.chaos --seconds 300`.

The schedule of faults and jobs follows from the seed alone, so that a run can be repeated. Afterwards everything is
looked at from outside: jobs, results in S3, what tasks did, what is left. A node with the join secret floods all the
time, and at the end honest jobs are measured beside it. Prints one JSON object; it ends with 1 if a job was lost, wrong
or stuck, something was left, what was deleted returned, or honest jobs were slow. See tests/chaos/invariants.py for
what has to hold.
"""

import argparse
import json
import logging
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.running import end_on_sigterm, run_to_the_end, tell, warn_of_load
from tests.chaos import namespace
from tests.chaos.clocks import have_clocks
from tests.chaos.invariants import COUNTS
from tests.chaos.jobs import plan_jobs
from tests.chaos.report import report
from tests.chaos.run import Outcome, Run
from tests.chaos.schedule import BETWEEN_SECONDS, NEEDS_CLOCK, NEEDS_DISK, Kind, plan_faults
from tests.servers import start_weed


def main() -> None:
    arguments = _arguments()
    namespace.enter("tests.chaos", sys.argv[1:])
    end_on_sigterm()
    logging.getLogger("shared.messaging.transport").setLevel(
        logging.ERROR
    )  # of played nodes, which are refused at times
    tell(f"seed {arguments.seed}")
    warn_of_load()
    kinds, unavailable = _kinds(arguments.kinds)
    for kind, why in unavailable.items():
        tell(f"{kind} is left out: {why}")
    root = Path(tempfile.mkdtemp(prefix=f"tarpon-chaos-{arguments.seed}-", dir=arguments.folder))
    outcome = _carry_out(arguments, root, kinds)
    for line in report(outcome, root):
        tell(line)
    if not outcome.violations and not arguments.keep:
        shutil.rmtree(root)
    numbers: dict[str, Any] = outcome.numbers | {"unavailable": unavailable}
    lines = [json.dumps(numbers)] if arguments.json else [f"{name}: {value}" for name, value in numbers.items()]
    sys.stdout.write("\n".join(lines) + "\n")
    sys.exit(any(numbers[name] for name in (*COUNTS, "slow")))


def _carry_out(arguments: argparse.Namespace, root: Path, kinds: frozenset[Kind]) -> Outcome:
    seed, seconds = arguments.seed, arguments.seconds
    faults = plan_faults(seed, seconds, nodes=arguments.nodes, kinds=kinds, between=arguments.between)
    jobs = plan_jobs(seed, seconds, per_second=arguments.jobs_per_second)
    tell(f"{len(faults)} faults and {len(jobs)} jobs in {seconds:g} s; everything is in {root}")
    begun = time.monotonic()
    s3 = start_weed(root / "s3")
    try:
        run = Run(
            root,
            s3,
            faults,
            jobs,
            seed=seed,
            nodes=arguments.nodes,
            hostile_seconds=arguments.hostile_seconds,
            honest_seconds=arguments.honest_p95,
            tell=lambda text: tell(f"{time.monotonic() - begun:7.1f} {text}"),
        )
        return run_to_the_end(run.carry_out())
    finally:
        s3.stop()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=300.0, help="of load and faults; the judgement comes after it")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout instead of lines")
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--jobs-per-second", type=float, default=3.2)
    parser.add_argument("--between", type=float, default=BETWEEN_SECONDS, help="seconds between two faults on average")
    parser.add_argument(
        "--hostile-seconds",
        type=float,
        default=35.0,
        help="for how long honest jobs are measured at the end beside a node that floods, as one does all the time;"
        " 0 is without such a node",
    )
    parser.add_argument(
        "--honest-p95", type=float, default=1.0, help="seconds that 95 of 100 such jobs may take at most"
    )
    parser.add_argument("--kinds", default="", help="only these kinds of faults, separated by commas")
    parser.add_argument("--folder", type=Path, default=None, help="where the run's own folder is made")
    parser.add_argument("--keep", action="store_true", help="keep the folder of a run without violations too")
    return parser.parse_args()


def _kinds(wanted: str) -> tuple[frozenset[Kind], dict[str, str]]:
    """Those that can be had here, and why the others cannot."""
    chosen = frozenset(map(Kind, wanted.split(","))) if wanted else frozenset(Kind)
    unavailable: dict[str, str] = {}
    if not have_clocks():
        unavailable |= dict.fromkeys(chosen & NEEDS_CLOCK, "libfaketime is missing; on Debian: apt install faketime")
    if not namespace.has_disks():
        why = "no mount namespace can be made here, neither as root nor as this user"
        unavailable |= dict.fromkeys(chosen & NEEDS_DISK, why)
    return chosen - frozenset(unavailable), unavailable


if __name__ == "__main__":
    main()
