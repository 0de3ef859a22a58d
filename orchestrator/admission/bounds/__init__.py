"""Bounds: how much of the orchestrator one address, person, program or node may take up."""
