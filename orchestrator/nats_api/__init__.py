"""The orchestrator as a NATS service: requests of other programs, and announcements to them."""
