"""The engine that runs tasks as processes of the node itself."""
