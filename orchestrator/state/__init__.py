"""All jobs, executions and nodes in memory, in the orders in which they are asked for."""
