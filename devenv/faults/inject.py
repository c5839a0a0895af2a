"""Injecting faults, and healing them on every way out, also after a kill."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from devenv.core.errors import WaitTimeout
from devenv.core.wait import wait_until
from devenv.faults import records
from devenv.faults.fault import Fault, Inconclusive
from devenv.faults.power import PowerFault
from devenv.faults.records import Record
from devenv.faults.site import Site
from devenv.providers.base import Inventory

T = TypeVar("T")

#: Seconds in which a fault has to be seen.
LIMIT = 15.0


@dataclass
class Injected:
    """Faults that hold. Times are monotonic, in seconds.

    :param begin: when they were asked for.
    :param held: when the last of them was seen to have taken hold.
    :param healed: when all were healed; infinite until then.
    """

    faults: tuple[Fault, ...]
    begin: float
    held: float
    healed: float = math.inf

    @property
    def words(self) -> str:
        """``kill haproxy on ctl1``; several after each other, with commas."""
        return ", ".join(fault.describe() for fault in self.faults)


@contextmanager
def inject(faults: Sequence[Fault], site: Site, *, limit: float = LIMIT) -> Iterator[Injected]:
    """Inject `faults` at the same time, hold them for the block, then heal them.

    All targets are looked at before any is touched. Each fault's record is on the disk before it
    is injected, and goes when it is healed.

    :param limit: seconds in which each has to be seen.
    :raises InputError: when a target is down, paused or cut off already; nothing was touched.
    :raises Inconclusive: when one is not seen to take hold; all are healed.
    :raises Unsupported: when one cannot be done there; all are healed.
    """
    injected = start(faults, site, limit=limit)
    try:
        yield injected
    except BaseException as error:
        _heal_after(error, injected.faults, site)
        injected.healed = time.monotonic()
        raise
    _heal_faults(injected.faults, site)
    injected.healed = time.monotonic()


def start(
    faults: Sequence[Fault], site: Site, *, kept: bool = False, limit: float = LIMIT
) -> Injected:
    """Inject `faults` and leave it to somebody else to heal them; raises as :func:`inject`.

    :param kept: they are to stay when this process ends.
    """
    ready = tuple(_at_once(lambda fault: fault.prepare(site), faults))
    begin = time.monotonic()

    def break_one(fault: Fault) -> None:
        why = "until it is healed by hand" if kept else ""
        with site.events.step(fault.describe(), node=fault.node, type="fault", why=why):
            fault.inject(site)
            _see(fault, site, limit)

    try:
        for fault in ready:
            records.write(site.environment, records.record(fault, kept=kept))
        _at_once(break_one, ready)
    except BaseException as error:
        _heal_after(error, ready, site)
        raise
    return Injected(ready, begin, time.monotonic())


def _see(fault: Fault, site: Site, limit: float) -> None:
    try:
        wait_until(
            lambda: fault.confirm(site),
            what=f"`{fault.describe()}` to take hold",
            timeout=limit,
            node=fault.node,
        )
    except WaitTimeout as error:
        raise Inconclusive(
            f"`{fault.describe()}` was not seen to take hold: {error.message}",
            node=fault.node,
            remedy="nothing is proved; the fault was healed",
        ) from error


def heal(record: Record, site: Site) -> str:
    """Heal what a record tells of, and forget it; says what was done.

    What does not exist any more is forgotten, and so is a record that cannot be read.
    """
    fault = record.fault
    if fault is None:
        records.remove(site.environment, record.id)
        return f"forgot {record.id}: {record.problem}"
    if not site.has(fault.node):
        records.remove(site.environment, record.id)
        return f"forgot `{fault.describe()}`: {fault.node} is gone"
    try:
        with site.events.step(f"heal: {fault.describe()}", node=fault.node, type="fault"):
            fault.heal(site)
    except Inconclusive:
        # Such as a reset that never came: there is nothing to heal, and never will be.
        records.remove(site.environment, record.id)
        raise
    records.remove(site.environment, record.id)
    return f"healed `{fault.describe()}`"


def heal_all(found: Iterable[Record], site: Site) -> list[str]:
    """Heal what nobody holds any more; says what was done.

    What a living process holds is left to it, and what cannot be read is left, with a note.

    :raises DevenvError: the first that could not be healed, after all were tried.
    """
    chosen = []
    for one in found:
        if one.fault is None:
            remedy = f"`devenv fault heal {one.id}` forgets it"
            site.events.note("fault", f"{one.problem}; {remedy}", type="fault")
        elif not one.held:
            chosen.append(one)
    return _heal(chosen, site)


def _heal(chosen: Sequence[Record], site: Site) -> list[str]:
    """Heal all, whatever fails; nodes get their power first, for all the rest needs it."""
    power = [one for one in chosen if isinstance(one.fault, PowerFault)]
    rest = [one for one in chosen if one not in power]
    said: list[str] = []

    def each(one: Record) -> None:
        said.append(heal(one, site))

    errors = [*_errors(each, power), *_errors(each, rest)]
    for other in errors[1:]:
        errors[0].add_note(f"and: {other}")
    if errors:
        raise errors[0]
    return said


def _heal_faults(faults: Iterable[Fault], site: Site) -> None:
    _heal([Record(fault.id, fault) for fault in faults], site)


def _heal_after(error: BaseException, faults: Iterable[Fault], site: Site) -> None:
    """Heal; what fails does not hide `error`."""
    try:
        _heal_faults(faults, site)
    except Exception as second:
        error.add_note(f"and it could not be healed (`devenv fault heal` tries again): {second}")


def _at_once(work: Callable[[Fault], T], faults: Sequence[Fault]) -> list[T]:
    """`work` on all at the same time; all have ended when it returns or raises."""
    if len(faults) == 1:  # In this thread, which has its connection to the engine already.
        return [work(faults[0])]
    with ThreadPoolExecutor(max_workers=max(len(faults), 1)) as pool:
        return list(pool.map(work, faults))


def _errors(work: Callable[[T], object], items: Sequence[T]) -> list[Exception]:
    """`work` on all at the same time, whatever fails; what failed."""

    def tried(item: T) -> Exception | None:
        try:
            work(item)
        except Exception as error:
            return error
        return None

    if len(items) == 1:
        found = [tried(items[0])]
    else:
        with ThreadPoolExecutor(max_workers=max(len(items), 1)) as pool:
            found = list(pool.map(tried, items))
    return [error for error in found if error is not None]


def exceeds(faults: Iterable[Fault], inventory: Inventory) -> str:
    """Why a cluster of the control nodes cannot survive `faults` together; '' if it can.

    A cluster of n goes on without (n - 1) // 2 of its members: more than half must be left.
    """
    control = [node.name for node in inventory.with_role("control")]
    hit = {fault.node for fault in faults if fault.loses}
    lost = [name for name in control if name in hit]
    survivable = max(len(control) - 1, 0) // 2
    if len(lost) <= survivable:
        return ""
    return (
        f"{len(lost)} of {len(control)} control nodes are hit ({', '.join(lost)}), and a cluster "
        f"of {len(control)} survives the loss of {survivable or 'none'}"
    )
