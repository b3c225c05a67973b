"""Pages: one HTML file each that needs no network, no server, and no JavaScript to be read."""
