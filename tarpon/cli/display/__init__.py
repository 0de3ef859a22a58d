"""The display of jobs while they are watched, and in tables."""
