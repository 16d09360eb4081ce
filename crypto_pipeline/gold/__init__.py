"""Gold: answers."""
