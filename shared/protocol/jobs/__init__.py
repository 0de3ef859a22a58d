"""Shapes of the HTTP API about one job, and what is wrong with one."""
