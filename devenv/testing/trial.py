"""Break something while clients work, heal it, wait until all is quiet, and judge what they saw."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from devenv.core.errors import DevenvError, Unsupported
from devenv.faults.containers import KillContainer, PauseContainer
from devenv.faults.fault import Fault, Inconclusive
from devenv.faults.inject import Injected, exceeds
from devenv.faults.network import Partition
from devenv.report.results import Check, Evidence, Window
from devenv.testing import books, checkers
from devenv.testing.clients.base import Client, words
from devenv.testing.clients.boots import Boots
from devenv.testing.clients.messages import Consumer, Publisher, Queue
from devenv.testing.clients.ping import Ping
from devenv.testing.clients.rows import Rows
from devenv.testing.clients.servers import Servers
from devenv.testing.clients.tcp import Stream, Tcp
from devenv.testing.clients.tokens import Tokens
from devenv.testing.load import Load
from devenv.testing.vip import Watch

if TYPE_CHECKING:
    from devenv.environment import Environment
    from devenv.nodes.connection import Connection
    from devenv.nodes.node import Node
    from devenv.providers.base import Inventory
    from devenv.testing.containers import Containers

#: Seconds of quiet before a fault; what the clients do then is what they are compared with.
BASELINE = 5.0
#: Seconds of quiet after it.
QUIET = 3.0
#: Seconds until all clients must be well again after a fault was healed.
RECOVERY = 150.0
#: Which operations of a client count for its availability; of the others all. Those that are named
#: need a majority of the control nodes.
_KINDS = {"rows": ("write",), "messages": ("publish",)}


@dataclass(frozen=True)
class Budget:
    """Seconds that each client may go without success.

    :param api: the database, the queue and the APIs, through the virtual IP.
    :param guest: a guest's network.
    """

    api: float = 3.0
    guest: float = 1.5
    others: Mapping[str, float] = field(default_factory=dict)

    def of(self, client: str) -> float:
        """The limit for one client."""
        usual = self.guest if client in ("ping", "tcp", "stream") else self.api
        return self.others.get(client, usual)


@dataclass
class _Run:
    """What is judged: who worked, from when to when, and what was found."""

    load: Load
    rows: Rows
    consumer: Consumer
    vip: Watch
    budget: Budget
    begin: float
    stopped: float | None = None
    checks: list[Check] = field(default_factory=list)


@dataclass
class Trial:
    """One scenario's run: its clients, its faults, and its evidence.

    :param guest: the floating IP of a guest that is there all the time; None for no guest.
    """

    environment: Environment
    inventory: Inventory
    connections: Mapping[str, Connection]
    containers: Containers
    cloud: Any
    guest: str | None
    measure: Callable[[str, float, str], None]
    say: Callable[[str], AbstractContextManager[None]]
    keep: Callable[[Evidence, Mapping[str, str]], None]
    queue_type: str = "quorum"
    injected: list[Injected] = field(default_factory=list)
    changes: list[Window] = field(default_factory=list)
    #: The times in which nothing may be answered that needs a majority.
    outages: list[tuple[float, float]] = field(default_factory=list)

    def __call__(
        self,
        fault: AbstractContextManager[Injected],
        *,
        budget: Budget,
        hold: float = 8.0,
        boots: bool = False,
        recovery: float = RECOVERY,
        outage: bool = False,
    ) -> None:
        """Inject `fault` for `hold` seconds while clients run, and fail unless all is well.

        :param boots: servers are booted and deleted all the while, too.
        :param recovery: seconds after healing until every client must be well.
        :param outage: the fault is more than a cluster survives, and that is what it is about:
            while it holds, nothing that needs a majority may succeed.
        :raises Inconclusive: when something was wrong before anything was broken.
        """
        with self.running(budget=budget, boots=boots) as load:
            with fault as injected:
                self.injected.append(injected)
                with self.say(f"holding: {injected.words}"):
                    load.run_for(hold)
                    if outage:
                        self.outages.append((injected.held, time.monotonic()))
            with self.say("healed; until all clients are well"):
                load.wait_quiet(QUIET, recovery)

    @contextmanager
    def running(self, *, budget: Budget, boots: bool = False) -> Iterator[Load]:
        """Clients run for as long as the block; at its end everything is judged.

        What the block injects by itself it appends to :attr:`injected`.

        :raises Inconclusive: when something was wrong before the block.
        """
        with _before_any_fault(), self.say("until every container is in sync"):
            self.containers.wait_members()
            rows, publisher, consumer, *others = self._clients(boots)
        assert isinstance(rows, Rows) and isinstance(publisher, Publisher)
        assert isinstance(consumer, Consumer)
        control = {one.name: self.connections[one.name] for one in self._control}
        run = _Run(
            Load([rows, publisher, consumer, *others]), rows, consumer,
            Watch(str(self.inventory.vip), control), budget, time.monotonic(),
        )  # fmt: skip
        with ExitStack() as after:
            after.callback(_quietly, publisher.drop)
            after.callback(_quietly, rows.drop)
            try:
                with ExitStack() as working:
                    with _before_any_fault():
                        working.enter_context(run.load.running())
                        working.enter_context(run.vip.running())
                        with self.say("clients run; until nothing goes wrong"):
                            run.load.baseline(BASELINE)
                    yield run.load
                    run.stopped = time.monotonic()
                with self.say("collecting the evidence"):
                    self._judge(run)
            finally:  # However it ended: what there is gets kept.
                self._keep(run)
        verdict = checkers.combine(run.checks)
        assert verdict == "pass", f"{verdict}: {checkers.explain(run.checks)}"

    @contextmanager
    def change(self, words: str) -> Iterator[None]:
        """A time in which something is done that is no fault, such as a restart in good order."""
        begin = time.monotonic()
        try:
            yield
        finally:
            self.changes.append(Window(words, begin, begin, time.monotonic()))

    # -- clients -----------------------------------------------------------------------

    def _clients(self, boots: bool) -> list[Client]:
        secrets = self.environment.secrets()
        login = self.environment.cloud(self.inventory)
        vip = str(self.inventory.vip)
        hosts = [node.address for node in self._control]
        queue = Queue(
            hosts, "openstack", secrets.password("rabbitmq"), type=self.queue_type  # type: ignore[arg-type]
        )  # fmt: skip
        clients: list[Client] = [
            Rows(vip, "root", secrets.password("database_root")),
            Publisher(queue),
            Consumer(queue),
            Tokens(login),
            Servers(login, interval=0.5),
        ]
        if self.guest:
            clients += [Ping(self.guest), Tcp(self.guest), Stream(self.guest)]
        if boots:
            clients.append(Boots(self._own_cloud()))
        return clients

    def _own_cloud(self) -> Any:
        import openstack

        entry: dict[str, Any] = self.environment.cloud(self.inventory).entry()
        return openstack.connect(
            load_yaml_config=False, load_envvars=False, api_timeout=10, **entry
        )

    # -- the verdict -------------------------------------------------------------------

    @property
    def _control(self) -> Sequence[Node]:
        return self.inventory.with_role("control")

    def _windows(self) -> list[Window]:
        now = time.monotonic()
        faults = [
            Window(one.words, one.begin, one.held, min(one.healed, now)) for one in self.injected
        ]
        return [*faults, *self.changes]

    def _judge(self, run: _Run) -> None:
        """Fill in the checks; what was found stays, whatever goes wrong later."""
        try:
            run.checks.extend(self._durability(run))
            run.checks.extend(self._availability(run))
            run.checks.extend(self._overload(run))
            apart = [
                (one.begin, one.healed) for one in self.injected if any(map(_apart, one.faults))
            ]
            run.checks.append(checkers.held_twice(run.vip.samples, apart, run.begin))
            run.checks.append(checkers.exactly_one(run.vip.ask(patience=10)))
            run.checks.extend(books.balance(self.cloud))
        except BaseException as error:
            found = checkers.explain(run.checks)
            run.checks.append(Check("judgement", "unknown", f"it did not end: {words(error)}"))
            error.add_note(f"found until then:\n{found}")
            raise

    def _durability(self, run: _Run) -> list[Check]:
        history = run.load.history
        run.consumer.drain(history)
        finals = run.rows.final({node.name: node.address for node in self._control})
        return [
            *checkers.rows(history, finals, run.begin),
            *checkers.messages(history, run.begin),
        ]

    def _availability(self, run: _Run) -> list[Check]:
        checks, windows = [], self._windows()
        for name in dict.fromkeys(client.name for client in run.load.clients):
            if name == "boots":
                checks.append(checkers.boots(run.load.history))
                continue
            found = checkers.availability(
                run.load.history, name, windows, kinds=_KINDS.get(name, ()), end=run.stopped
            )
            checks.append(found.check(run.budget.of(name), run.begin))
            for figure in found.figures():
                if figure.name.startswith("longest gap") and "without" not in figure.name:
                    self.measure(figure.name, figure.value, figure.unit)
        return checks

    def _overload(self, run: _Run) -> list[Check]:
        """Whether the faults at once were survivable, or their outage was seen as expected."""
        told = dict.fromkeys(exceeds(one, self.inventory) for one in _together(self.injected))
        together = "; ".join(filter(None, told))
        checks = [checkers.overload(together, expected=bool(self.outages))]
        if self.outages:
            checks += [
                checkers.down(run.load.history, client, kind, self.outages, run.begin)
                for client, (kind,) in _KINDS.items()
            ]
        return checks

    def _keep(self, run: _Run) -> None:
        found = checkers.evidence(
            run.load.history, self._windows(), run.checks, run.begin, end=run.stopped
        )
        series = tuple(
            one
            if (name := one.client.split()[0]) == "boots"
            else dataclasses.replace(one, budget=run.budget.of(name))
            for one in found.series
            if one.client not in ("rows read", "messages consume")
        )
        logs = {} if checkers.combine(run.checks) == "pass" else self.containers.logs()
        self.keep(dataclasses.replace(found, series=series), logs)


@contextmanager
def _before_any_fault() -> Iterator[None]:
    """What goes wrong before anything was broken says nothing about what a fault does."""
    try:
        yield
    except (Inconclusive, Unsupported):
        raise
    except Exception as error:
        node = error.node if isinstance(error, DevenvError) else None
        raise Inconclusive(
            "not all was well before anything was broken: nothing is proved",
            node=node,
            detail="\n".join([str(error), *getattr(error, "__notes__", ())]),
            remedy="devenv up",
        ) from error


def _together(injected: Sequence[Injected]) -> list[list[Fault]]:
    """The faults that were in force when each began; no other moment has more of them at once."""
    return [
        [
            fault
            for other in injected
            if other.begin <= one.begin < other.healed
            for fault in other.faults
        ]
        for one in injected
    ]


def _apart(fault: Fault) -> bool:
    """Whether two nodes with the virtual IP have to be expected.

    The sides of a partition do not hear each other, and a keepalived that is dead or frozen gives
    nothing up.
    """
    if isinstance(fault, KillContainer | PauseContainer):
        return fault.container == "keepalived"
    return isinstance(fault, Partition)


def _quietly(drop: Callable[[], None]) -> None:
    """What is left behind goes with the environment: it must not hide the verdict."""
    with contextlib.suppress(DevenvError):
        drop()
