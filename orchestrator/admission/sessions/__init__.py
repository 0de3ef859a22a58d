"""Sessions of the page: somebody is known by a cookie for some hours."""
