"""The pytest plugin that scenarios use."""
