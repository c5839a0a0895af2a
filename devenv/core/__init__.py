"""Helpers that every layer may use: errors, events, waiting, paths, secrets."""
