"""Objects of a bucket that tasks read: given by the orchestrator, fetched by signed URLs, kept by their content."""
