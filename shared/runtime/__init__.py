"""Needs of every process: tasks, logs, files that last, metrics, traces."""
