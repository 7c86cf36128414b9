"""Signed envelopes, keys, and the files that hold them."""
