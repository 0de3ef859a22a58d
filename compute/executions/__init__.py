"""Executions that the node holds, from the assignment until the orchestrator has heard of their end."""
