"""What is remembered of sessions that are over."""
