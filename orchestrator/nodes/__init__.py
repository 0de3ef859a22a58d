"""Nodes: which there are, how they fare, and who can be reached."""
