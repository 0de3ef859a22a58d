"""The commands of `tarpon job` that submit, watch and change jobs, and those that need no job file."""
