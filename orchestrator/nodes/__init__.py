"""Which nodes there are, how they fare, and who can be reached."""
