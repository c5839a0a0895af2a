"""``devenv snapshot``: the whole node set as it is at one moment, and back to it."""

from __future__ import annotations

import re

import click

from devenv.cli import show
from devenv.cli.options import Settings, common
from devenv.cli.session import changing, interruptible, looking, say


def _name(ctx: click.Context, parameter: click.Parameter, value: str) -> str:
    """Names that every backend takes: they become parts of file names."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}", value):
        raise click.BadParameter(
            f"{value!r}: letters, digits, - and _ only, a letter or digit first, 63 at most"
        )
    return value


@click.group()
def snapshot() -> None:
    """Save all nodes at one moment and go back to it."""


@snapshot.command()
@click.argument("saved", metavar="NAME", callback=_name)
@common()
@click.pass_obj
def save(settings: Settings, saved: str) -> None:
    """Save all nodes as NAME.

    They stand still meanwhile, so that what one has is what the others know of.

    \b
    Example:
      devenv snapshot save before-upgrade
    """
    _change(settings, "save", saved)
    again = show.command("snapshot", "restore", saved, name=settings.name)
    say(f"saved as {saved}; back to it: {again}")


@snapshot.command()
@click.argument("saved", metavar="NAME", callback=_name)
@common()
@click.pass_obj
def restore(settings: Settings, saved: str) -> None:
    """Put all nodes back to what they were when NAME was saved.

    What happened since is lost. Ends when every node answers again.

    \b
    Example:
      devenv snapshot restore before-upgrade
    """
    _change(settings, "restore", saved)
    say(f"all nodes are as they were when {saved} was saved, and answer")


@snapshot.command("list")
@common(output=True)
@click.pass_obj
def list_snapshots(settings: Settings) -> None:
    """List what was saved, the oldest first.

    \b
    Example:
      devenv snapshot list
    """
    names = looking(settings).inventory().snapshots
    if settings.as_json:
        show.print_json(list(names))
    elif not names:
        say(f"nothing was saved; {show.command('snapshot', 'save', 'NAME', name=settings.name)}")
    else:
        show.print_table(("SNAPSHOT",), [(name,) for name in names])


def _change(settings: Settings, verb: str, name: str) -> None:
    from devenv.providers import discover

    provider = settings.provider or discover.find(settings.name).provider
    again = show.command("snapshot", verb, name, name=settings.name)
    with (
        interruptible(f"`{again}` does it again from the start"),
        changing(settings, provider) as environment,
    ):
        environment.snapshot(name) if verb == "save" else environment.restore(name)
