"""Inputs from the web: files that a node fetches by HTTP from URLs of strangers."""
