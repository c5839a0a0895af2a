"""Faults on containers, nodes and links: each is proved to hold, and healed on every way out."""
