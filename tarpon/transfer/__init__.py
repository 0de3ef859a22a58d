"""Objects over HTTP: downloads that resume, and ranges."""
