"""How long a scan will take and on what, from headers and the measured speed of this machine."""
