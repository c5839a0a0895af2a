"""devenv: a containerised OpenStack on any node set, broken on purpose, judged by evidence."""

__version__ = "0.1.0.dev0"
