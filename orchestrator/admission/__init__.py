"""Who may do what: users, nodes, their keys, and how much each may ask for."""
