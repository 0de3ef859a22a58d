"""The commands of `tarpon job` that read results."""
