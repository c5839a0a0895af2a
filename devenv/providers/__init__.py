"""Where nodes come from: this machine, Vagrant, Heat, bare metal."""
