"""The audit log as the settings have it."""

from pathlib import Path

from orchestrator.audit.file import AuditFile, Rotation
from orchestrator.audit.recorder import Audit, AuditSink
from orchestrator.audit.standard_output import StandardOutput
from shared.jobs.durations import parse_duration
from shared.jobs.quantities import parse_bytes
from shared.settings.config import Config

ALWAYS = "always"


def folder(config: Config) -> Path:
    return config.data_dir / "orchestrator" / "audit"


def audit_file(config: Config) -> Path:
    """Where the lines are that are written now, if they are in a file."""
    file = config.orchestrator.audit.file
    return Path(file) if file else folder(config) / "audit.jsonl"


def audit_of(config: Config, name: str) -> Audit:
    """That of the orchestrator of this name. Nothing is opened yet."""
    return Audit(_sink(config, name), on_failure=config.orchestrator.audit.on_failure)


def _sink(config: Config, name: str) -> AuditSink:
    settings = config.orchestrator.audit
    if settings.output == "stdout":
        return StandardOutput(folder(config) / "position", orchestrator=name)
    return AuditFile(
        audit_file(config),
        Rotation(parse_bytes(settings.max_size), settings.keep),
        orchestrator=name,
        sync_seconds=0.0 if settings.sync_interval == ALWAYS else parse_duration(settings.sync_interval),
    )
