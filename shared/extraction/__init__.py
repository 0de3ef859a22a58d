"""Extraction: entries of an archive become files, whatever the file system can hold."""
