"""``devenv export``: ways in for other tools, on stdout."""

from __future__ import annotations

import click

from devenv.cli.options import Settings, common
from devenv.cli.session import looking


@click.group()
def export() -> None:
    """Print what other tools need to get in."""


@export.command()
@common()
@click.pass_obj
def clouds(settings: Settings) -> None:
    """A clouds.yaml for OpenStack's clients. `up` has put the same into yours.

    \b
    Example:
      devenv export clouds > clouds.yaml
    """
    click.echo(looking(settings).cloud().as_yaml(), nl=False)


@export.command()
@common()
@click.pass_obj
def openrc(settings: Settings) -> None:
    """The same as shell variables, for `eval`.

    \b
    Example:
      eval "$(devenv export openrc)"
    """
    click.echo(looking(settings).cloud().openrc(), nl=False)


@export.command("ssh-config")
@common()
@click.pass_obj
def ssh_config(settings: Settings) -> None:
    """An ssh_config with a host devenv-NAME-NODE for each node.

    \b
    Example:
      devenv export ssh-config > devenv.conf; ssh -F devenv.conf devenv-default-aio
    """
    from devenv.access.ssh import ssh_config as config

    click.echo(config(settings.name, looking(settings).inventory().nodes), nl=False)


@export.command()
@common()
@click.pass_obj
def ansible(settings: Settings) -> None:
    """An Ansible inventory with a group a role.

    \b
    Example:
      devenv export ansible > hosts; ansible -i hosts control -m raw -a 'docker ps'
    """
    from devenv.access.ssh import ansible_inventory

    click.echo(ansible_inventory(looking(settings).inventory().nodes), nl=False)


@export.command("topology-schema")
@common()
def topology_schema() -> None:
    """The JSON Schema of topology files, for editors.

    \b
    Example:
      devenv export topology-schema > topology.schema.json
    """
    from devenv.topology.schema import text

    click.echo(text(), nl=False)
