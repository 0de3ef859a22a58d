"""Who asks at the HTTP API, and who may."""
