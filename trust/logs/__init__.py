"""Merkle logs: the tree, its signed head, and the log in a database."""
