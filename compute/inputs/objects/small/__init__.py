"""Small objects: many of them come together, at little cost each."""
