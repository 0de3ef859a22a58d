"""Data from outside: decoding, and bounds on what is taken."""
