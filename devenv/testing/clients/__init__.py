"""Clients that run through a scenario and record what became of each operation.

One module a client. Each tells apart what was acknowledged, what surely had no effect, and what
nobody knows; :mod:`devenv.testing.load` runs them side by side.
"""
