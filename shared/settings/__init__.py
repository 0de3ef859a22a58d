"""The configuration: its keys, where it comes from, and whether it is right."""
