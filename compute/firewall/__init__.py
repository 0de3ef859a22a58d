"""The firewall of the node: what tasks with a network may not reach."""
