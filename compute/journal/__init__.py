"""The journal: what the node keeps on its disk, so that a restart loses nothing."""
