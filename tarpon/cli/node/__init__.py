"""The commands of `tarpon node`."""
