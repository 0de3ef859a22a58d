"""Sign-in of people at the issuer of an orchestrator: the device flow, what is kept of it, and how it is shown."""
