"""The training call and what surrounds it."""
