"""Reading archives and their indexes, entry by entry, within bounds."""
