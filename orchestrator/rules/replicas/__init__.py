"""Replicas of parts: how many run, and what follows from their answers."""
