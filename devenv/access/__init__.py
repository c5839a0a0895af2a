"""Ways into an environment for other tools: clouds.yaml, openrc, ssh_config, Ansible."""
