"""From a run to a model that stands on its own."""
