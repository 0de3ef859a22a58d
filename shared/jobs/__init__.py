"""Jobs as users write them: the job file, its rules, its states."""
