"""A node: a name, roles, addresses, SSH and a Docker Engine."""
