"""Routes that tell about all orchestrators of a set, and what they rest on."""
