"""``devenv fault``: break something by hand, for a while or until it is healed."""

from __future__ import annotations

import datetime
import re
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from devenv.cli import show
from devenv.cli.options import Settings, common, option
from devenv.cli.session import changing, looking, say

if TYPE_CHECKING:
    from devenv.environment import Environment
    from devenv.faults.fault import Fault
    from devenv.faults.records import Record
    from devenv.faults.verbs import Faults

Make = Callable[[str], "Fault"]

_UNITS = {"s": 1, "m": 60, "h": 3600}
#: What a shell says of a process that SIGTERM ended: 128 and the signal's number.
_EXIT_TERMINATED = 143


class Duration(click.ParamType[float]):
    """``30s``, ``2m`` or ``1h``, as seconds."""

    name = "DURATION"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """A number and its unit, which has to be there."""
        if isinstance(value, float):
            return value
        match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", str(value).strip())
        if match is None or not float(match[1]):
            self.fail(f"{value!r} should be a number with a unit, such as 30s or 2m", param, ctx)
        return float(match[1]) * _UNITS[match[2]]


for_option = option(
    "--for",
    "seconds",
    type=Duration(),
    metavar="DURATION",
    help="How long, such as 30s or 2m; else until `devenv fault heal`.",
)


container_option = option("--container", metavar="NAME", required=True, help="Which container.")


@click.group()
def fault() -> None:
    """Break containers, nodes and links on purpose, and heal them.

    TARGET is a node's name, a role (control, compute, network), or a state: vip-holder,
    db-primary, one, minority, majority or all, of the control nodes. Several with commas. Each
    fault is seen to take hold before the command goes on.
    """


@fault.command()
@click.argument("target")
@container_option
@for_option
@common(output=True)
@click.pass_obj
def kill(settings: Settings, target: str, container: str, seconds: float | None) -> None:
    """Kill a container; it stays dead until it is healed.

    \b
    Example:
      devenv fault kill vip-holder --container haproxy --for 30s
    """
    from devenv.faults.containers import KillContainer

    _break(settings, target, seconds, lambda _: lambda node: KillContainer(node, container))


@fault.command()
@click.argument("target")
@container_option
@for_option
@common(output=True)
@click.pass_obj
def stop(settings: Settings, target: str, container: str, seconds: float | None) -> None:
    """Stop a container as an operator does.

    \b
    Example:
      devenv fault stop ctl2 --container rabbitmq
    """
    from devenv.faults.containers import StopContainer

    _break(settings, target, seconds, lambda _: lambda node: StopContainer(node, container))


@fault.command()
@click.argument("target")
@option("--container", metavar="NAME", help="Which container; else the whole node.")
@for_option
@common(output=True)
@click.pass_obj
def pause(settings: Settings, target: str, container: str | None, seconds: float | None) -> None:
    """Freeze a container, or a whole node.

    \b
    Examples:
      devenv fault pause db-primary --container mariadb --for 10s
      devenv fault pause ctl3 --for 1m
    """
    from devenv.faults.containers import PauseContainer
    from devenv.faults.power import PauseNode

    def make(node: str) -> Fault:
        return PauseContainer(node, container) if container else PauseNode(node)

    _break(settings, target, seconds, lambda _: make)


@fault.command("power-off")
@click.argument("target")
@for_option
@common(output=True)
@click.pass_obj
def power_off(settings: Settings, target: str, seconds: float | None) -> None:
    """Pull a node's plug.

    \b
    Example:
      devenv fault power-off vip-holder --for 1m
    """
    from devenv.faults.power import PowerOff

    _break(settings, target, seconds, lambda _: PowerOff)


@fault.command()
@click.argument("target")
@for_option
@common(output=True)
@click.pass_obj
def reset(settings: Settings, target: str, seconds: float | None) -> None:
    """Press a node's reset button; it boots again by itself.

    \b
    Example:
      devenv fault reset cmp1
    """
    from devenv.faults.power import Reset

    _break(settings, target, seconds, lambda _: Reset)


@fault.command()
@click.argument("target")
@option("--from", "away_from", metavar="NODE,...", help="Only from these; else from all.")
@for_option
@common(output=True)
@click.pass_obj
def partition(
    settings: Settings, target: str, away_from: str | None, seconds: float | None
) -> None:
    """Cut a node off on the API network, from some nodes or from all.

    devenv's own SSH to the node goes on.

    \b
    Examples:
      devenv fault partition ctl2 --for 30s
      devenv fault partition ctl2 --from ctl1,ctl3
    """
    _break(settings, target, seconds, lambda faults: faults.partitions(away_from))


@fault.command()
@click.argument("target")
@option("--ms", type=click.IntRange(1, 10_000), required=True, help="Milliseconds.")
@for_option
@common(output=True)
@click.pass_obj
def delay(settings: Settings, target: str, ms: int, seconds: float | None) -> None:
    """Make a node's link to the API network slow.

    \b
    Example:
      devenv fault delay one --ms 200 --for 1m
    """
    from devenv.faults.network import Delay

    _break(settings, target, seconds, lambda _: lambda node: Delay(node, ms))


@fault.command()
@click.argument("target")
@option("--percent", type=click.IntRange(1, 99), required=True, help="Lost frames of 100.")
@for_option
@common(output=True)
@click.pass_obj
def lossy(settings: Settings, target: str, percent: int, seconds: float | None) -> None:
    """Lose frames at random on a node's link to the API network.

    \b
    Example:
      devenv fault lossy ctl1 --percent 20 --for 1m
    """
    from devenv.faults.network import Lossy

    _break(settings, target, seconds, lambda _: lambda node: Lossy(node, percent))


@fault.command("fill-disk")
@click.argument("target")
@for_option
@common(output=True)
@click.pass_obj
def fill_disk(settings: Settings, target: str, seconds: float | None) -> None:
    """Leave nothing free on a node's disk.

    \b
    Example:
      devenv fault fill-disk ctl1 --for 1m
    """
    from devenv.faults.disk import FillDisk

    _break(settings, target, seconds, lambda _: FillDisk)


@fault.command("list")
@common(output=True)
@click.pass_obj
def list_faults(settings: Settings) -> None:
    """List the faults that hold, or that a kill left behind.

    \b
    Example:
      devenv fault list
    """
    from devenv.faults.records import all_records

    with _opened(settings, looking(settings)) as faults:
        found = all_records(settings.name, faults.connections)
    if settings.as_json:
        data = [
            {
                "id": one.id,
                "fault": one.describe(),
                "node": one.fault.node if one.fault else None,
                "since": _since(one),
                "state": _state(one),
            }
            for one in found
        ]
        show.print_json(data)
    elif found:
        rows = [(one.id, one.describe(), _since(one), _state(one)) for one in found]
        show.print_table(("ID", "FAULT", "SINCE", "STATE"), rows)
    else:
        say("no faults")


@fault.command()
@click.argument("id", required=False)
@common(output=True)
@click.pass_obj
def heal(settings: Settings, id: str | None) -> None:
    """Heal a fault, or all that no running command holds.

    \b
    Examples:
      devenv fault heal
      devenv fault heal 3f9c21aa
    """
    from devenv.core.errors import InputError
    from devenv.faults import inject
    from devenv.faults.records import all_records
    from devenv.providers import discover

    provider = settings.provider or discover.find(settings.name).provider
    with changing(settings, provider) as environment, _opened(settings, environment) as faults:
        found = all_records(settings.name, faults.connections)
        if id is None:
            said = inject.heal_all(found, faults.site)
        else:
            chosen = [one for one in found if one.id == id]
            if not chosen:
                ids = ", ".join(one.id for one in found) or "none"
                raise InputError(f"there is no fault {id!r}", remedy=f"faults: {ids}")
            said = [inject.heal(one, faults.site) for one in chosen]
        left = [one for one in found if id is None and one.held]
    for line in said or ["nothing to heal"]:
        say(line)
    for one in left:
        command = show.command("fault", "heal", one.id, name=settings.name)
        say(f"`{one.describe()}` is held by process {one.pid}; `{command}` heals it anyway")
    if settings.as_json:
        show.print_json(said)


def _break(
    settings: Settings, target: str, seconds: float | None, maker: Callable[[Faults], Make]
) -> None:
    """Hold the fault for a while, or leave it."""
    from devenv.faults import inject
    from devenv.providers import discover

    provider = settings.provider or discover.find(settings.name).provider
    with changing(settings, provider) as environment, _opened(settings, environment) as faults:
        make = maker(faults)
        wanted = [make(node) for node in faults.nodes(target)]
        if warning := inject.exceeds(wanted, faults.site.inventory):
            say(f"warning: {warning}")
        if seconds is None:
            injected = inject.start(wanted, faults.site, kept=True)
        else:
            with _terminable(), inject.inject(wanted, faults.site) as injected:
                why = f"for {show.duration(seconds)}; Ctrl-C heals it now"
                with environment.events.step("hold", type="fault", why=why):
                    interrupt = _wait(seconds)
                if interrupt:
                    say("healing; if that is interrupted, too: `devenv fault heal`")
                    raise interrupt
    words = ", ".join(one.describe() for one in injected.faults)
    if seconds is not None:
        say(f"healed: {words}")
    else:
        ids = [one.id for one in injected.faults]
        command = show.command("fault", "heal", *(ids if len(ids) == 1 else []), name=settings.name)
        say(f"{words}: it stays until `{command}`, or the next `up`")
    if settings.as_json:
        took = round(injected.held - injected.begin, 3)
        data = [
            {"id": one.id, "node": one.node, "fault": one.describe()} for one in injected.faults
        ]
        show.print_json({"faults": data, "seconds_to_hold": took, "healed": seconds is not None})


def _wait(seconds: float) -> BaseException | None:
    """What ended the wait before its time."""
    try:
        threading.Event().wait(seconds)
    except (KeyboardInterrupt, SystemExit) as interrupt:
        return interrupt
    return None


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM ends the process as Ctrl-C does: what is open is healed first."""

    def end(*_: Any) -> None:
        raise SystemExit(_EXIT_TERMINATED)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _opened(settings: Settings, environment: Environment) -> Iterator[Faults]:
    """The verbs, with connections to all nodes that answer."""
    from devenv.core import paths
    from devenv.faults.verbs import Faults
    from devenv.nodes.connection import connected

    inventory = environment.inventory()
    sockets = paths.sockets(settings.name)
    with connected(inventory.nodes, sockets, 5, lenient=True) as connections:
        faults = Faults(
            settings.name, environment.provider, inventory, connections, environment.events
        )
        try:
            yield faults
        finally:
            faults.close()


def _since(one: Record) -> str:
    if not one.since:
        return "unknown"
    return datetime.datetime.fromtimestamp(one.since, datetime.UTC).isoformat(timespec="seconds")


def _state(one: Record) -> str:
    if one.fault is None:
        return "unreadable"
    if one.held:
        return f"held by process {one.pid}"
    return "kept" if one.kept else "left behind"
