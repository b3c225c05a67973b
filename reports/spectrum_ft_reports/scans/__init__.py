"""A scan, and what a plan takes of it, shown."""
