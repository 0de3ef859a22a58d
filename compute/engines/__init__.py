"""How tasks are run: one engine each for containers, processes and tests."""
