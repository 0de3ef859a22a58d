"""Inputs: what a job may say that its task works on."""
