"""Plan what differs, then converge in parallel."""
