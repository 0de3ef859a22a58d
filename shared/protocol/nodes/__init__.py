"""Messages between the orchestrator and its nodes."""
