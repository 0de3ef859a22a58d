"""Rules about nodes that join: by which tokens, and which keys were theirs when."""
