"""The engine of containers: Docker and Podman."""
