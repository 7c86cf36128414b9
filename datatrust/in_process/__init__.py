"""A whole trust in one process."""
