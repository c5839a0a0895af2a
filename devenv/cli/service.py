"""``devenv service``: restart, stop, start and replace containers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from devenv.cli import show
from devenv.cli.options import Settings, common, option
from devenv.cli.reach import node_option
from devenv.cli.session import changing, interruptible

if TYPE_CHECKING:
    from devenv.deploy.operate import Changed
    from devenv.deploy.places import Place


@click.group()
def service() -> None:
    """Restart, stop, start or replace a service's containers.

    CONTAINER is a container's name, or a service's for all its containers. Without --node it is
    changed on every node that has it, one after the other.
    """


@service.command()
@click.argument("container")
@node_option
@common(output=True)
@click.pass_obj
def restart(settings: Settings, container: str, node: str | None) -> None:
    """Stop and start a container, and wait until it answers.

    \b
    Example:
      devenv service restart nova_compute
    """
    _change(settings, "restart", container, node)


@service.command()
@click.argument("container")
@node_option
@common(output=True)
@click.pass_obj
def stop(settings: Settings, container: str, node: str | None) -> None:
    """Stop a container. The next `up` starts it again.

    \b
    Example:
      devenv service stop nova_libvirt
    """
    _change(settings, "stop", container, node)


@service.command()
@click.argument("container")
@node_option
@common(output=True)
@click.pass_obj
def start(settings: Settings, container: str, node: str | None) -> None:
    """Start a container, and wait until it answers.

    \b
    Example:
      devenv service start nova_libvirt
    """
    _change(settings, "start", container, node)


@service.command()
@click.argument("container")
@node_option
@option("--image", metavar="REF", help="Another image; pulled if the node does not have it.")
@common(output=True)
@click.pass_obj
def replace(settings: Settings, container: str, node: str | None, image: str | None) -> None:
    """Make a container again, from the same or another image.

    This is how a deployment upgrades a service. The configuration and the volumes stay. The
    next `up` goes back to the image that the topology says.

    \b
    Examples:
      devenv service replace nova_libvirt
      devenv service replace nova_libvirt --image devenv/nova-libvirt:next
    """
    _change(settings, "replace", container, node, image)


def _change(
    settings: Settings, verb: str, container: str, node: str | None, image: str | None = None
) -> None:
    from devenv.deploy.operate import Operator
    from devenv.deploy.places import find, node_called
    from devenv.providers import discover

    provider = settings.provider or discover.find(settings.name).provider
    words = f"`{show.command('up', name=settings.name)}` puts everything right"
    with (
        interruptible(words),
        changing(settings, provider) as environment,
        environment.locked(),
    ):
        inventory = environment.inventory()
        nodes = (node_called(inventory, node),) if node else inventory.nodes
        with environment.connections(nodes) as connections:
            operator = Operator(inventory, connections, environment.events)
            act: dict[str, Callable[[Place], Changed]] = {
                "restart": operator.restart,
                "stop": operator.stop,
                "start": operator.start,
                "replace": lambda place: operator.replace(place, image),
            }
            places = find(connections, settings.name, container)
            changed = [act[verb](place) for place in places]
    if settings.as_json:
        show.print_json([asdict(one) for one in changed])
    else:
        head = ("NODE", "CONTAINER", "IMAGE", "STATE", "SECONDS")
        rows = [(one.node, one.container, one.image, one.state, one.seconds) for one in changed]
        show.print_table(head, rows)
