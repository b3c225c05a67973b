"""How a model did, shown."""
