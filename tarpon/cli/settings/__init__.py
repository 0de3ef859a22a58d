"""The commands of `tarpon config`."""
