"""Archives and their indexes, read entry by entry, within bounds."""
