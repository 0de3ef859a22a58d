"""The NATS servers: those that run inside, and whether one serves as Tarpon needs it."""
