"""What the orchestrator asks of the node: registration, assignments, stops."""
