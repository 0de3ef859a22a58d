"""How jobs and what is kept of them go: by users, and by their age."""
