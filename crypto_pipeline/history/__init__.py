"""History: what happened before we listened, from files and by REST."""
