"""What would come of a change that is not made."""
