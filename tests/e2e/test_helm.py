"""The chart of deploy/helm: what it makes is valid for Kubernetes, and what it sets Tarpon reads.

`go install helm.sh/helm/v3/cmd/helm@v3.22.0` and `pip install kubernetes-validate` bring what is needed; where one is
missing these tests are skipped.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from shared.settings.loading import load
from tests.environments import ROOT

CHART = ROOT / "deploy" / "helm" / "tarpon"
KUBERNETES = "1.34"
MOST = (
    *("serviceMonitor.enabled=true", "nats.authoritySecret=nats-ca", "nodes.sandbox=false", "nodes.storageClass=fast"),
    *("bucket.endpoint=https://s3.example.com", "orchestrator.awsCredentials=false", "image.pullSecrets[0].name=pull"),
)
REQUIRED = "TESTS_REQUIRE_HELM"


@pytest.fixture(scope="module")
def helm() -> str:
    found = shutil.which("helm")
    missing = [
        *([] if found else ["helm"]),
        *([] if importlib.util.find_spec("kubernetes_validate") else ["kubernetes-validate"]),
    ]
    if missing or found is None:
        (pytest.fail if os.environ.get(REQUIRED) else pytest.skip)(f"not installed: {', '.join(missing)}")
    return found


def rendered(helm: str, *values: str) -> list[dict[str, Any]]:
    sets = [part for value in values for part in ("--set", value)]
    command = [helm, "template", "t", str(CHART), f"--kube-version={KUBERNETES}", *sets]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return [each for each in yaml.safe_load_all(done.stdout) if each]


def test_the_chart_passes_its_linter(helm: str) -> None:
    done = subprocess.run([helm, "lint", "--strict", str(CHART)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("values", [(), MOST], ids=["as it is", "with all that can be set"])
def test_kubernetes_takes_all_that_the_chart_makes(helm: str, values: tuple[str, ...], tmp_path: Path) -> None:
    made = rendered(helm, *values)
    kinds = {each["kind"] for each in made}
    assert {"Deployment", "StatefulSet", "PodDisruptionBudget", "NetworkPolicy", "Service", "ConfigMap"} <= kinds
    assert ("ServiceMonitor" in kinds) is bool(values)
    file = tmp_path / "made.yaml"
    file.write_text(yaml.safe_dump_all(each for each in made if each["kind"] != "ServiceMonitor"))
    program = "from kubernetes_validate.__main__ import main; raise SystemExit(main())"
    command = [sys.executable, "-W", "ignore", "-c", program, "--strict", "-k", KUBERNETES, str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("values", [(), MOST], ids=["as it is", "with all that can be set"])
def test_tarpon_reads_the_settings_that_the_chart_makes(helm: str, values: tuple[str, ...], tmp_path: Path) -> None:
    (made,) = [each for each in rendered(helm, *values) if each["kind"] == "ConfigMap"]
    for name, text in made["data"].items():
        (tmp_path / name).write_text(text)
        loaded = load(sets=[str(tmp_path / name)], env={})
        assert loaded.warnings == ()
        role = loaded.config.orchestrator if name == "orchestrator.yaml" else loaded.config.compute
        assert role.enabled


def test_a_pod_runs_as_nobody_in_particular_and_has_time_to_drain(helm: str) -> None:
    made = {each["kind"]: each.get("spec", {}) for each in rendered(helm)}
    pods = {kind: made[kind]["template"]["spec"] for kind in ("Deployment", "StatefulSet")}
    for pod in pods.values():
        (container,) = pod["containers"]
        assert pod["securityContext"]["runAsNonRoot"]
        assert container["securityContext"]["readOnlyRootFilesystem"]
        assert pod["automountServiceAccountToken"] is False
    assert pods["StatefulSet"]["terminationGracePeriodSeconds"] == 340
    assert made["Deployment"]["replicas"] == 2
