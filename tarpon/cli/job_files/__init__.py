"""Job files: reading, templates, checks, writing."""
