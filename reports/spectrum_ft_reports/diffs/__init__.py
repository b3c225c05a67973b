"""How two scans differ, shown."""
