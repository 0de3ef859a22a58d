"""Engines from outside: how they are found and opened, and how a node bears what goes wrong in them."""
