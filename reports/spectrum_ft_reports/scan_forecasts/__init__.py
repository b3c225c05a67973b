"""What a scan is going to cost, shown."""
