"""The topology: what the user asks for, as YAML, checked."""
