"""What an orchestrator that starts has already, and how far it has come with the rest."""
