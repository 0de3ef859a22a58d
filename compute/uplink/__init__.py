"""The uplink: what the node tells the orchestrator, in heartbeats and reports."""
