"""The catalogue: one folder a service."""
