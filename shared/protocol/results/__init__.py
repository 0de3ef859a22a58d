"""Results: the manifest of what is in one, and its files as objects."""
