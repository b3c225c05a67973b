"""What becomes of every tensor of a model under a plan, and what that adds up to."""
