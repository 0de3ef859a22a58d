"""Commands that look after what an operator runs: one module for each."""
