"""Telemetry: what operators see of the orchestrator. Measures, metrics and traces."""
