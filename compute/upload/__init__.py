"""Uploads, from a result folder to an object in S3: grants, parts, retries."""
