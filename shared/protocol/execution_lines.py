"""Lines of an execution's history by which programs tell what it is at: their topics, and how they begin.

The orchestrator writes them, the node those about images and S3, and the command line reads them. Stored histories have
them as they are here, so they stay as they are.
"""

SCHEDULING = "Scheduling"
PREPARING = "Preparing Execution"
RUNNING = "Running Execution"
PUBLISHING = "Publishing Results"
ENDING = "Execution"
"""Who else than its task or its node has ended it."""

PULLING = "Pulling image "
RUNNING_ON = "Running on node "
TASK_ENDED = "Task ended with exit code "
THEN_PUBLISHES = "; publishing its result"
WAITS_FOR_S3 = "Publishing, waiting for S3: "
PUBLISHED = "Result published and verified"
ANSWERED = "Result published, which waits for the other replicas"
FAILED = "Failed: "
"""By its exit code; then follows why, in a sentence that begins small."""
YET_PUBLISHED = "; its result is published, "
"""After why it has failed."""
