"""TLS of a client: whom it trusts, and whether what listens speaks it."""
