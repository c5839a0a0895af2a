"""What commands share: which environment, which topology, who is told what happens."""

from __future__ import annotations

import dataclasses
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import click

from devenv.cli.options import Settings

if TYPE_CHECKING:
    from devenv.environment import Environment
    from devenv.topology.load import LoadedTopology

#: Seconds after Ctrl-C in which the process may tidy up.
_GRACE = 5.0


def say(text: str) -> None:
    """Words for people, on stderr."""
    click.echo(text, err=True)


def wanted(settings: Settings, topology: str | None) -> LoadedTopology:
    """The topology: `topology`, else what the environment was made from, else ``aio``."""
    from devenv.providers import discover
    from devenv.topology.load import load
    from devenv.topology.models import Topology

    if topology is None:
        there = {one.name: one.topology for one in discover.existing()}
        topology = there.get(settings.name) or "aio"
    loaded = load(topology)
    if settings.provider:
        data = {**loaded.topology.to_data(), "provider": settings.provider}
        loaded = dataclasses.replace(loaded, topology=Topology.model_validate(data))
    return loaded


def looking(settings: Settings) -> Environment:
    """The environment, which has to be there; nobody is told what happens.

    :raises InputError: when it is not there.
    """
    from devenv.providers import discover

    provider = settings.provider or discover.find(settings.name).provider
    return looking_or_new(settings, provider)


def looking_or_new(
    settings: Settings, provider: str = "local", *, name: str | None = None
) -> Environment:
    """The environment, there or not; nobody is told what happens.

    :param name: another than the one that the options say.
    """
    from devenv.core.events import Events
    from devenv.environment import Environment

    events = Events(redact=settings.redact)
    return Environment(name or settings.name, provider, events, settings.redact)


@contextmanager
def changing(settings: Settings, provider: str) -> Iterator[Environment]:
    """The environment, there or not, with progress on stderr and in its journal."""
    from devenv.cli.progress import progress
    from devenv.core import paths
    from devenv.core.events import Events
    from devenv.environment import Environment
    from devenv.report.journal import Journal

    events = Events(redact=settings.redact)
    journal = Journal(paths.environment(settings.name) / "journal.jsonl", settings.redact)
    with progress() as view, closing(journal):
        events.subscribe(view)
        events.subscribe(journal)
        yield Environment(settings.name, provider, events, settings.redact)


@contextmanager
def interruptible(words: str) -> Iterator[None]:
    """Ctrl-C says `words` and ends the process soon; a second one ends it at once."""
    from devenv.cli.main import EXIT_INTERRUPTED

    before = signal.getsignal(signal.SIGINT)
    if before == signal.SIG_IGN:  # As a shell's background job: it stays that way.
        yield
        return

    def end(*_: Any) -> None:
        # Not through sys.stderr: this may have interrupted a write to it.
        os.write(2, f"interrupted: {words}\n".encode())
        os._exit(EXIT_INTERRUPTED)

    def handle(*_: Any) -> None:
        signal.signal(signal.SIGINT, end)
        # What is left to tidy up may wait for a step that takes minutes.
        timer = threading.Timer(_GRACE, end)
        timer.daemon = True
        timer.start()
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, handle)
    try:
        yield
    except KeyboardInterrupt:
        say(f"interrupted: {words}")
        raise
    finally:
        signal.signal(signal.SIGINT, before)
