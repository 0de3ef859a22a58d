"""Engines, which run tasks: one each for containers, processes and tests."""
