"""Schedules: jobs that are run again and again, by the leader's decisions."""
