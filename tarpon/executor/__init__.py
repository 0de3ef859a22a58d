"""Python functions run as jobs: `tarpon.Executor` and its asynchronous twin."""
