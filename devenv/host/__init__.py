"""This machine: what it has, what it lacks, and how that is mended."""
