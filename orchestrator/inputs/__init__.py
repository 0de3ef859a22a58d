"""Inputs of jobs: found and frozen when a job is submitted, and given to the nodes that hold its executions."""
