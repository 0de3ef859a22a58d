"""HTTP to hosts that others name, within what the operator of a machine allows."""
