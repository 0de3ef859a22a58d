"""A cluster at work, with jobs of all kinds, as pictures of the page show it (no tests in here)."""

from typing import Any

from tests.e2e.page.result_files import WITH_FOLDER
from tests.e2e.stack import Stack, process_job

NODES = {"atlas": "zone=north,disk=nvme", "borealis": "zone=north,disk=nvme", "cirrus": "zone=south"}
USERS = ({"Name": "mila"}, {"Name": "night-runs", "Namespaces": ["ocean"], "ExpiresIn": "720h"})
TRAIN = r"""
cd outputs; mkdir -p plots checkpoints
echo "epoch,loss,accuracy" > metrics.csv
for epoch in $(seq 1 40); do
  awk -v e=$epoch 'BEGIN {
    printf "%d,%.4f,%.4f\n", e, 2.3 * exp(-e / 12) + 0.08 * sin(e), 0.97 - 0.8 * exp(-e / 9)
  }' >> metrics.csv
done
awk -F, 'NR > 1 { printf "epoch %2d  loss %.4f  accuracy %.4f\n", $1, $2, $3 }' metrics.csv >&1
printf '{"model": "fishnet-18", "epochs": 40, "seed": 7}\n' > config.json
printf '# Fishnet 18\n\nTrained for 40 epochs on 3 nodes.\n' > report.md
echo '<svg xmlns="http://www.w3.org/2000/svg" width="320" height="120">' > plots/accuracy.svg
echo '<path d="M0 110 Q80 10 320 8" fill="none" stroke="teal"/></svg>' >> plots/accuracy.svg
head -c 1400000 /dev/urandom > checkpoints/last.bin
echo "done"
"""
SWEEP = "sleep 0.$((TARPON_PARTITION_INDEX % 4)); exit $((TARPON_PARTITION_INDEX == 11))"
RENDER = 'for frame in $(seq 1 24); do echo "frame $frame of 240 rendered"; done; while :; do sleep 1; done'


def job(name: str, script: str, project: str, **more: Any) -> dict[str, Any]:
    task = {key: more.pop(key) for key in ("ResultPaths", "FailOnExitCode", "Resources") if key in more}
    return {"Name": name, "Labels": {"project": project}, **process_job(script, **task), **more}


class Gallery:
    """`train`, `sweep` and `render` are ids of jobs: completed with results, of many parts, and one that runs."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        for name, labels in NODES.items():
            stack.start_compute(name, connected=False, Labels=labels)
        for name in NODES:
            stack.wait_connected(name)
        self.train = stack.submit(job("train-fishnet", TRAIN, "vision", **WITH_FOLDER))
        self.sweep = stack.submit(job("sweep-rates", SWEEP, "vision", Count=36))
        others = (
            job("clean-tracks", "echo rows: 48211", "ocean"),
            job("join-catches", "echo rows: 1093", "ocean"),
            job("import-2026-11", "echo no such table >&2; exit 3", "ocean", FailOnExitCode=True),
        )
        ended = [self.train, self.sweep, *map(stack.submit, others)]
        self.render = stack.submit(job("render-atlas", RENDER, "maps"))
        far = [{"Key": "zone", "Operator": "=", "Values": ["west"]}]
        stack.submit(job("tile-coast", "true", "maps", Constraints=far))
        for user in USERS:
            stack.api("/orchestrator/users", {"Capabilities": ["read:job", "write:job"], **user}, "PUT")
        for each in ended:
            stack.wait_ended(each)
        stack.wait_state(self.render, "Running")

    def views(self) -> dict[str, tuple[str, str]]:
        """By the name of a picture: the address, and a text that is there when all of it is."""
        train = f"/#/jobs/{self.train}?tab"
        return {
            "jobs": ("/#/jobs", "clean-tracks"),
            "job": (f"/#/jobs/{self.sweep}?tab=parts&part=11", "upload"),
            "history": (f"{train}=history", "The job has ended: this is all."),
            "log": (f"/#/jobs/{self.render}?tab=log", "frame 24 of 240"),
            "results": (f"{train}=results&path=outputs/metrics.csv", "over epoch"),
            "submit": ("/#/submit", "The whole job"),
            "nodes": ("/#/nodes", "borealis"),
            "node": ("/#/nodes/atlas", "render-atlas" if self.is_on("atlas") else "zone"),
            "cluster": ("/#/cluster", "Oldest waits"),
            "access": ("/#/access", "night-runs"),
            "api": ("/#/api", "/api/v1/orchestrator/jobs"),
            "sign-in": ("/#/sign-in", "Sign in"),
        }

    def is_on(self, node: str) -> bool:
        found = self.stack.api(f"/orchestrator/jobs/{self.render}/executions")["Items"]
        return any(each["NodeID"] == node for each in found)
