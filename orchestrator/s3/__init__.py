"""The bucket: where results go, signed URLs, verification and deletion."""
