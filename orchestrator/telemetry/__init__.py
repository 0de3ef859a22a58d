"""What operators see of the orchestrator: measures, metrics and traces."""
