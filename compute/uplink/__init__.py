"""What the node tells the orchestrator: heartbeats and reports."""
