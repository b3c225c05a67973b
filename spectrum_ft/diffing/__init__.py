"""How two scans differ: matrices matched by name, ranked on each side, and held side by side."""
