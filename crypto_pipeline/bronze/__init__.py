"""Bronze: what the exchanges said, each thing once."""
