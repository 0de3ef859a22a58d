"""The language between processes: messages over NATS, shapes of the HTTP API, subjects, signed URLs."""
