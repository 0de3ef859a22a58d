"""What operators build their monitoring on is on its page: every metric, and every field of a log line for machines."""

import json
import logging
import re
import sys
from pathlib import Path

import pytest
import yaml

from shared.runtime.log_lines import about, set_up
from tests.documents import ROOT, text_of

PAGE = "docs/monitoring.md"
SOURCES = [path for folder in ("orchestrator", "compute", "shared") for path in (ROOT / folder).rglob("*.py")]


def metrics() -> set[str]:
    """The names in the code; a total has `_total` at its end."""
    text = "\n".join(path.read_text() for path in SOURCES)
    found = re.findall(r'\b(?:Gauge|Total|Histogram|gauge)\(\s*"(tarpon_\w+)"', text)
    totals = re.findall(r'\bTotal\(\s*"(tarpon_\w+)"', text)
    return {f"{name}_total" if name in totals else name for name in found}


def test_every_metric_is_documented_and_no_other() -> None:
    documented = set(re.findall(r"\btarpon_[a-z0-9_]+", text_of(PAGE)))
    assert len(documented) > 40
    assert documented == metrics()


def test_alerts_and_dashboard_ask_for_metrics_that_there_are() -> None:
    known = metrics() | {f"{name}_bucket" for name in metrics()}
    rules = yaml.safe_load((ROOT / "deploy" / "prometheus" / "alerts.yaml").read_text())["groups"]
    asked = [rule["expr"] for group in rules for rule in group["rules"]]
    panels = json.loads((ROOT / "deploy" / "grafana" / "tarpon.json").read_text())["panels"]
    asked += [target["expr"] for panel in panels for target in panel.get("targets", [])]
    assert set(re.findall(r"\btarpon_[a-z0-9_]+", " ".join(asked))) <= known


def test_every_field_of_a_log_line_is_documented(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, before = logging.getLogger(), logging.getLogger().handlers[:]
    with (tmp_path / "log").open("w") as log:
        monkeypatch.setattr(sys, "stderr", log)
        set_up("info", "json")
        try:
            try:
                raise ValueError("unexpected")  # noqa: TRY301
            except ValueError:
                root.exception("It happened.", extra=about(job="j-1", execution="e-1", node="n-1"))
        finally:
            root.handlers[:] = before
    (line,) = (tmp_path / "log").read_text().splitlines()
    rows = re.findall(r"^\| (`[a-z_`, ]+`) \|", text_of(PAGE).partition("## Health")[0], re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", " ".join(rows))) == set(json.loads(line))
