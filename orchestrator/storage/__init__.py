"""Storage: the records of jobs, executions and nodes in NATS, and how they are followed."""
