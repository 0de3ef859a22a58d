"""Each alert of deploy/prometheus fires on its trouble and is silent without, by Prometheus' own tests of rules."""

import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from tests.documents import ROOT
from tests.programs import require_program

ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yaml"
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]
]
UP = 'up{job="tarpon-orchestrator",instance="o-1"}'
EVERY = "1m"


class Trouble(NamedTuple):
    """Samples of each series, one a minute, as promtool spells them: `0x60` is 0 for an hour."""

    bad: dict[str, str]
    good: dict[str, str]
    at: str = "59m"


def gauge(series: str, bad: object, good: object, *, at: str = "59m", length: int = 60) -> Trouble:
    return Trouble({series: f"{bad}x{length}"}, {series: f"{good}x{length}"}, at)


def counter(series: str, step: int) -> Trouble:
    """It counts up by so much a minute, or not at all."""
    return Trouble({series: f"0+{step}x60"}, {series: "7x60"})


TROUBLES = {
    "TarponOrchestratorDown": gauge(UP, 0, 1),
    "TarponNoOrchestrator": gauge(UP, 0, 1),
    "TarponNoLeader": Trouble(
        {'tarpon_lease_held{job="tarpon-orchestrator",instance="o-1"}': "0x60"},
        {
            'tarpon_lease_held{job="tarpon-orchestrator",instance="o-1"}': "0x60",
            'tarpon_lease_held{job="tarpon-orchestrator",instance="o-2"}': "1x60",
        },
    ),
    "TarponNatsDisconnected": gauge("tarpon_nats_connected", 0, 1),
    "TarponNatsReconnects": counter("tarpon_nats_reconnects_total", 1),
    "TarponStreamReplicaBehind": Trouble(
        {'tarpon_stream_replicas{stream="S"}': "3x60", 'tarpon_stream_replicas_current{stream="S"}': "2x60"},
        {'tarpon_stream_replicas{stream="S"}': "3x60", 'tarpon_stream_replicas_current{stream="S"}': "3x60"},
    ),
    "TarponStreamFull": Trouble(
        {'tarpon_stream_bytes{stream="S"}': "90x60", 'tarpon_stream_limit_bytes{stream="S"}': "100x60"},
        {'tarpon_stream_bytes{stream="S"}': "9000x60"},  # without a limit
    ),
    "TarponAuditUnwritable": gauge("tarpon_audit_writable", 0, 1),
    "TarponAuditEventsLost": counter("tarpon_audit_lost_events_total", 1),
    "TarponRecordsNotTaken": gauge("tarpon_records_not_taken_total", 1, 0),
    "TarponApiErrors": Trouble(
        {
            'tarpon_api_requests_total{instance="o-1",status="503"}': "0+6x60",
            'tarpon_api_requests_total{instance="o-1",status="200"}': "0+94x60",
        },
        {
            'tarpon_api_requests_total{instance="o-1",status="404"}': "0+50x60",
            'tarpon_api_requests_total{instance="o-1",status="503"}': "0+1x60",
            'tarpon_api_requests_total{instance="o-1",status="200"}': "0+94x60",
        },
    ),
    "TarponHeldBack": counter('tarpon_held_back_total{bound="requests"}', 100),
    "TarponCertificateEnds": gauge(
        'tarpon_certificate_end_timestamp_seconds{listener="api"}', 29 * 86400, 31 * 86400, at="65m", length=70
    ),
    "TarponDiskFills": Trouble(
        {"tarpon_disk_free_bytes": "9x60", "tarpon_disk_size_bytes": "100x60"},
        {"tarpon_disk_free_bytes": "11x60", "tarpon_disk_size_bytes": "100x60"},
    ),
    "TarponBackupOld": gauge(
        "tarpon_last_backup_timestamp_seconds", -2 * 86400, -2 * 86400 + 4000, at="65m", length=70
    ),
    "TarponVersionsApart": Trouble(
        {f'tarpon_build_info{{job="tarpon-orchestrator",instance="{v}",version="{v}"}}': "1x70" for v in ("1", "2")},
        {f'tarpon_build_info{{job="tarpon-orchestrator",instance="{v}",version="1"}}': "1x70" for v in ("1", "2")},
        "65m",
    ),
    "TarponBucketUnusable": gauge("tarpon_bucket_usable", 0, 1),
    "TarponResultsWaitForS3": gauge("tarpon_results_waiting_for_s3", 1, 0),
    "TarponClockOff": gauge("tarpon_bucket_clock_skew_seconds", -61, -59),
    "TarponUnfinishedUploads": gauge("tarpon_unfinished_uploads", 1, 0, at="25h", length=1500),
    "TarponRemovalsStuck": gauge("tarpon_jobs_being_removed", 1, 0, at="125m", length=130),
    "TarponJobsWait": gauge("tarpon_oldest_queued_job_seconds", 3601, 3599),
    "TarponReportsSlow": Trouble(
        {
            'tarpon_report_seconds_bucket{le="5.0"}': "0+90x60",
            'tarpon_report_seconds_bucket{le="10.0"}': "0+100x60",
            'tarpon_report_seconds_bucket{le="+Inf"}': "0+100x60",
        },
        {
            'tarpon_report_seconds_bucket{le="5.0"}': "0+99x60",
            'tarpon_report_seconds_bucket{le="10.0"}': "0+100x60",
            'tarpon_report_seconds_bucket{le="+Inf"}': "0+100x60",
        },
    ),
    "TarponReportsSetAside": counter("tarpon_reports_set_aside_total", 1),
    "TarponWebhooksFail": counter('tarpon_webhooks_total{outcome="failed"}', 1),
    "TarponSchedulesLate": gauge("tarpon_schedule_late_seconds", 301, 299),
    "TarponScheduledRunsLost": counter('tarpon_scheduled_runs_total{outcome="missed"}', 1),
    "TarponScheduledRunsFail": counter('tarpon_scheduled_runs_ended_total{state="Failed"}', 1),
    "TarponReportsPileUp": gauge('tarpon_stream_messages{stream="TARPON_REPORTS"}', 1001, 10),
    "TarponNoNodes": Trouble(
        {'tarpon_nodes{connection="CONNECTED"}': "0x60", 'tarpon_nodes{connection="DISCONNECTED"}': "3x60"},
        {'tarpon_nodes{connection="CONNECTED"}': "0x60", 'tarpon_nodes{connection="DISCONNECTED"}': "0x60"},
    ),
    "TarponNodesDisconnected": gauge('tarpon_nodes{connection="DISCONNECTED"}', 1, 0),
    **{
        f"Tarpon{code}": gauge(f'tarpon_node_warnings{{code="{code}"}}', 1, 0)
        for code in ("NodeClockOff", "NodeDiskFull", "NodeEngineAway", "NodeSuspect", "NodeDiffers", "NodeProblem")
    },
    "TarponNodeNotIsolated": gauge('tarpon_node_warnings{code="NodeNotIsolated"}', 1, 0, at="65m", length=70),
    "TarponNodeVersionsApart": gauge('tarpon_node_warnings{code="NodeVersionDiffers"}', 1, 0, at="25h", length=1500),
    "TarponNodesFlood": counter('tarpon_node_messages_over_budget_total{kind="reports"}', 10),
    "TarponNodeMetricsDown": gauge('up{job="tarpon-compute",instance="n-1"}', 0, 1),
}


@cache
def fired(kind: str, at: str = "") -> str:
    """What promtool tells of all alerts at once: it is told that none fires, and names each that does.

    `kind` is "bad" or "good", and `at` when it looks, for all alike. Beside an alert the other rules are left out: each
    would be evaluated for each minute too.
    """
    with tempfile.TemporaryDirectory() as folder:
        files = [_test(Path(folder), alert, kind, at) for alert in TROUBLES]
        command = [require_program("promtool"), "test", "rules", *map(str, files)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode in {0, 1}, done.stderr
    return done.stdout + done.stderr


def fires(alert: str, told: str) -> bool:
    return f'alertname="{alert}"' in told


def _test(folder: Path, alert: str, kind: str, at: str) -> Path:
    rules, test = folder / f"{alert}.rules.yaml", folder / f"{alert}.yaml"
    only = {"name": "g", "rules": [rule for rule in RULES if rule.get("alert") == alert]}
    rules.write_text(yaml.safe_dump({"groups": [only]}))
    trouble = TROUBLES[alert]
    series = {"bad": trouble.bad, "good": trouble.good}[kind]
    case = {
        "interval": EVERY,
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "alert_rule_test": [{"eval_time": at or trouble.at, "alertname": alert, "exp_alerts": []}],
    }
    test.write_text(yaml.safe_dump({"rule_files": [rules.name], "evaluation_interval": EVERY, "tests": [case]}))
    return test


def test_prometheus_takes_the_rules_and_the_configuration(tmp_path: Path) -> None:
    for check, name in (("rules", "alerts.yaml"), ("config", "prometheus.yaml")):
        more = ["--syntax-only"] if check == "config" else []
        command = [require_program("promtool"), "check", check, *more, str(ALERTS.parent / name)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path)
        assert done.returncode == 0, done.stderr


def test_every_alert_is_tried_here() -> None:
    assert sorted(rule["alert"] for rule in RULES) == sorted(TROUBLES)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_fires_on_its_trouble_alone(rule: dict[str, Any]) -> None:
    assert fires(rule["alert"], fired("bad"))
    assert not fires(rule["alert"], fired("good")), fired("good")


@pytest.mark.parametrize("rule", [each for each in RULES if "for" in each], ids=lambda rule: rule["alert"])
def test_an_alert_that_waits_does_not_fire_at_once(rule: dict[str, Any]) -> None:
    assert not fires(rule["alert"], fired("bad", at="0m"))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_says_how_bad_it_is_and_where_to_read_on(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    assert rule["annotations"]["summary"].endswith(".")
    assert rule["annotations"]["runbook"] == f"docs/runbook.md#{rule['alert'].lower()}"
