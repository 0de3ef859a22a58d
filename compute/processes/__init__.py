"""Processes of the machine: which there are, and which are ours."""
