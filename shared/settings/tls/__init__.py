"""Settings of TLS."""
