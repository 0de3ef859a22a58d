"""A whole stack on one machine, to try things out."""
