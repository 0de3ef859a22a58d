"""What every process needs: tasks, logs, files that last, metrics, traces."""
