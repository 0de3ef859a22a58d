"""The archive: a folder becomes a .tar.gz stream, with an index of its files."""
