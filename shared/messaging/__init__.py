"""NATS: the connection, requests and their replies, streams."""
