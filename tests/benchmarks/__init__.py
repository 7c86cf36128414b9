"""`make bench`: what is claimed of speed, measured against the named rival in the same run."""
