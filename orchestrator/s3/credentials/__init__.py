"""The keys of the bucket: where they come from, and why there are none."""
