"""Models: what a file holds and a user evaluates."""
