"""Backups of the state, and what commands of an operator do with a state as a whole."""
