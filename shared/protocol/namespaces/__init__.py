"""Shapes of the HTTP API about namespaces: what belongs to one as a whole, and not to one job."""
