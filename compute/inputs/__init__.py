"""Inputs of tasks: what a node fetches for them before they run."""
