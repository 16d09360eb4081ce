"""`crypto backup` and `crypto restore`: a copy of all that a deployment cannot make again, and back from it."""
