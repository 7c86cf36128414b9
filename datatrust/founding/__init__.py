"""Drafting the trust root."""
