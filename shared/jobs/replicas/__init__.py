"""What a job says of replicas of its parts."""
