"""What the HTTP API tells of orchestrators and all that they rest on."""
