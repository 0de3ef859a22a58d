"""What travels with calls to the machine that runs them: it imports the standard library alone.

Its modules are sent as they are. There they are a program and find each other by their bare names.
"""
