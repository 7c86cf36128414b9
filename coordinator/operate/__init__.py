"""What a coordinator's operator does: make a home, certify, back up, look."""
