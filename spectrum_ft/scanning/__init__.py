"""A scan: every matrix of a checkpoint, from its bytes to its scores."""
