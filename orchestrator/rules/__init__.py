"""Pure decisions: what comes next for a job, an execution, a node. Nothing here waits or stores."""
