"""Data for the inputs of jobs on its way: what a local tree has, what of it is sent, and how it comes back."""
