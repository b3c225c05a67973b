"""From scores to a plan: what trains, what stays frozen, and how the rest is kept."""
