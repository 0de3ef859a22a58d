"""What belongs to a namespace as a whole in the HTTP API: its weight, and the secrets of its tasks."""
