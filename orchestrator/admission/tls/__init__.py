"""TLS of what an orchestrator serves: its authority, its certificates, and what is encrypted by them."""
