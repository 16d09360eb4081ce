"""One module a venue; a new one is found by being here."""
