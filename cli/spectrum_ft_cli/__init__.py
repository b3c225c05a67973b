"""The command line: parses, opens, hands over, prints; no arithmetic."""
