"""Measuring a model on held-out data: loss, answers, votes, and what it has forgotten."""
