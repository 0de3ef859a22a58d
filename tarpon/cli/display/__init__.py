"""How jobs look while they are watched, and in tables."""
