"""Folders, mounts and room on the node's disk."""
