"""The audit log: who did what to which object, and for whom each URL was signed."""
