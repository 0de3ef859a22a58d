"""The HTTP API: routes, what they are asked, what they answer."""
