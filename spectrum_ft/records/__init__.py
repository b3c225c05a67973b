"""The records that cross stages, and that other tools may rely on: `scan.json` and its kin.

Each is a frozen dataclass written as strict JSON with its schema's name and version. Numbers are
finite; a number that does not exist is `null`, and a flag or a reason beside it says why.
"""
