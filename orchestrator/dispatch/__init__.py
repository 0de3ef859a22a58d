"""Dispatch, from a waiting job to a task on a node, and back: scheduling, assignments, grants, reports."""
