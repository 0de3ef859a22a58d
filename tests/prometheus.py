"""A real Prometheus with the files of deploy/prometheus, for the machines of a test (no tests in here)."""

import json
import re
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import yaml

from tests.documents import ROOT
from tests.programs import require_program
from tests.servers import HOST, free_ports

DEPLOY = ROOT / "deploy" / "prometheus"
FAST = "1s"
STOP_SECONDS = 20.0


class Prometheus:
    """Scrapes each second. Alerts fire a second after their trouble has begun, however long they wait otherwise."""

    def __init__(self, folder: Path, *, targets: dict[str, list[str]], key: str, authority: Path) -> None:
        """`targets` are by the names of the jobs; `key` is what the orchestrators are shown."""
        self._program = require_program("prometheus")
        self._folder = folder
        (self._port,) = free_ports(1)
        folder.mkdir()
        (folder / "tarpon.key").write_text(key)
        (folder / "tarpon.key").chmod(0o600)
        (folder / "authority.pem").write_bytes(authority.read_bytes())
        alerts = (DEPLOY / "alerts.yaml").read_text()
        (folder / "alerts.yaml").write_text(re.sub(r"(?m)^( +for: ).*$", rf"\g<1>{FAST}", alerts))
        config = yaml.safe_load((DEPLOY / "prometheus.yaml").read_text())
        config["global"] = {"scrape_interval": FAST, "scrape_timeout": FAST, "evaluation_interval": FAST}
        for job in config["scrape_configs"]:
            job["static_configs"] = [{"targets": targets[job["job_name"]]}]
        (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self._folder / "prometheus-output").open("wb") as output:
            self._process = subprocess.Popen(
                [
                    self._program,
                    f"--config.file={self._folder / 'prometheus.yaml'}",
                    f"--storage.tsdb.path={self._folder / 'data'}",
                    f"--web.listen-address={HOST}:{self._port}",
                ],
                stdout=output,
                stderr=output,
            )

    def stop(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def query(self, expression: str) -> list[dict[str, Any]]:
        """What it answers at this moment; nothing while it is not up."""
        answer = self._ask(f"/api/v1/query?{urllib.parse.urlencode({'query': expression})}")
        return list(answer.get("result", []))

    def firing(self) -> set[str]:
        alerts = self._ask("/api/v1/alerts").get("alerts", [])
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}

    def _ask(self, path: str) -> dict[str, Any]:
        try:
            with urllib.request.urlopen(f"http://{HOST}:{self._port}{path}", timeout=10) as answer:
                found: dict[str, Any] = json.load(answer)["data"]
                return found
        except ConnectionError:
            return {}
        except urllib.error.HTTPError as error:
            if error.code == 503:  # it starts
                return {}
            raise AssertionError(error.read().decode()) from error
        except urllib.error.URLError:
            return {}
