"""Orders of the orchestrator to the node: registration, assignments, stops."""
