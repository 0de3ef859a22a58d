"""Filing: jobs that have ended, out of memory into an index on disk, and found there."""
