"""Comparing runs made under different plans: arms, trials, intervals, verdicts. Free of torch."""
