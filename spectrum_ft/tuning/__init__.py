"""Training under a plan: the only place that imports transformers and what is built on it."""
