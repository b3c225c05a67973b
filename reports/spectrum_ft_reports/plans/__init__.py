"""A plan, and what training it takes, shown."""
