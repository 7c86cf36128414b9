"""A trust behind an address, verified against the pinned root."""
