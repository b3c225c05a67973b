"""The folder that a run keeps itself in: checkpoints, states, manifests, the result."""
