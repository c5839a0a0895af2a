"""Ways into an environment for other tools: clouds.yaml, openrc, ssh_config, an Ansible inventory."""
