"""A training run, shown: its contract, its course, what came of it."""
