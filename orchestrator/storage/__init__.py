"""What is stored of jobs, executions and nodes in NATS, and how it is followed."""
