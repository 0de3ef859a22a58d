"""Rules of inputs: which part of a job reads which object, and as which file."""
