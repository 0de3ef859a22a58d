"""Local inputs: files and folders of the node itself, which its operator allows tasks to read."""
