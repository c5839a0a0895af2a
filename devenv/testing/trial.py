"""Break something while clients work, heal it, wait until all is quiet, and judge what they saw."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from devenv.core.errors import DevenvError
from devenv.core.wait import NotYet, wait_until
from devenv.faults.inject import Injected, exceeds
from devenv.report.results import Check, Evidence, Figure, Window
from devenv.testing import checkers
from devenv.testing.clients.base import Client
from devenv.testing.clients.boots import Boots
from devenv.testing.clients.messages import Consumer, Publisher, Queue
from devenv.testing.clients.ping import Ping
from devenv.testing.clients.rows import Rows
from devenv.testing.clients.servers import Servers
from devenv.testing.clients.tcp import Stream, Tcp
from devenv.testing.clients.tokens import Tokens
from devenv.testing.load import Load

if TYPE_CHECKING:
    from devenv.environment import Environment
    from devenv.nodes.connection import Connection
    from devenv.providers.base import Inventory
    from devenv.testing.containers import Containers

#: Seconds of quiet before a fault; what the clients do then is what they are compared with.
BASELINE = 5.0
#: Seconds until all clients must be well again after a fault was healed.
RECOVERY = 150.0
#: Which operations of a client count for its availability; of the others all.
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

    def __call__(
        self,
        fault: AbstractContextManager[Injected],
        *,
        budget: Budget,
        hold: float = 8.0,
        boots: bool = False,
        recovery: float = RECOVERY,
    ) -> None:
        """Inject `fault` for `hold` seconds while clients run, and fail unless all is well.

        :param boots: servers are booted and deleted all the while, too.
        :param recovery: seconds after healing until every client must be well.
        """
        with self.running(budget=budget, boots=boots) as load:
            with fault as injected:
                self.injected.append(injected)
                with self.say(f"holding: {injected.words}"):
                    load.run_for(hold)
            with self.say("healed; until all clients are well"):
                load.wait_quiet(3.0, recovery)

    @contextmanager
    def running(self, *, budget: Budget, boots: bool = False) -> Iterator[Load]:
        """Clients run for as long as the block; at its end everything is judged.

        What the block injects by itself it appends to :attr:`injected`.
        """
        with self.say("until every container is in sync"):
            self.containers.wait_members()
        rows, publisher, consumer, *others = self._clients(boots)
        assert isinstance(rows, Rows) and isinstance(publisher, Publisher)
        assert isinstance(consumer, Consumer)
        load = Load([rows, publisher, consumer, *others])
        begin, stopped = time.monotonic(), None
        with ExitStack() as after:
            after.callback(_quietly, publisher.drop)
            after.callback(_quietly, rows.drop)
            try:
                with load.running():
                    with self.say("clients run; until nothing goes wrong"):
                        load.baseline(BASELINE)
                    yield load
                    stopped = time.monotonic()
            except BaseException:
                self._keep(load, (), begin, stopped, budget)
                raise
            with self.say("collecting the evidence"):
                checks = self._judge(load, rows, consumer, begin, stopped, budget)
            self._keep(load, checks, begin, stopped, budget)
        verdict = checkers.combine(checks)
        assert verdict == "pass", f"{verdict}: {checkers.explain(checks)}"

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
        hosts = [node.address for node in self.inventory.with_role("control")]
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

    def _windows(self) -> list[Window]:
        now = time.monotonic()
        faults = [
            Window(one.words, one.begin, one.held, min(one.healed, now)) for one in self.injected
        ]
        return [*faults, *self.changes]

    def _judge(
        self,
        load: Load,
        rows: Rows,
        consumer: Consumer,
        begin: float,
        stopped: float | None,
        budget: Budget,
    ) -> list[Check]:
        history, windows = load.history, self._windows()
        consumer.drain(history)
        members = {node.name: node.address for node in self.inventory.with_role("control")}
        checks = [
            *checkers.rows(history, rows.final(members), begin),
            *checkers.messages(history, begin),
        ]
        for name in dict.fromkeys(client.name for client in load.clients):
            if name == "boots":
                checks.append(_boots(load))
                continue
            found = checkers.availability(
                history, name, windows, kinds=_KINDS.get(name, ()), end=stopped
            )
            checks.append(found.check(budget.of(name), begin))
            for figure in found.figures():
                self._figure(figure)
        checks += [self._vip(), *self._books()]
        broken = [fault for one in self.injected for fault in one.faults]
        together = exceeds(broken, self.inventory) if self._at_once() else ""
        if together:
            checks.append(checkers.overload(together))
        return checks

    def _at_once(self) -> bool:
        """Whether faults overlapped."""
        ordered = sorted(self.injected, key=lambda one: one.begin)
        return any(b.begin < a.healed for a, b in itertools.pairwise(ordered))

    def _figure(self, figure: Figure) -> None:
        if figure.name.startswith("longest gap") and "without" not in figure.name:
            self.measure(figure.name, figure.value, figure.unit)

    def _vip(self) -> Check:
        from devenv.faults.targets import has_address

        def holds(name: str) -> bool | None:
            try:
                done = self.connections[name].run(["cat", "/proc/net/fib_trie"], timeout=10)
            except DevenvError:
                return None
            return has_address(done.stdout.decode(), str(self.inventory.vip))

        control = self.inventory.with_role("control")
        return checkers.exactly_one({node.name: holds(node.name) for node in control})

    def _books(self) -> list[Check]:
        """Placement's allocations and nova's quota usage, against the servers that exist."""

        def balance() -> list[Check]:
            servers = {one.id: one.name for one in self.cloud.compute.servers(all_projects=True)}
            consumers: set[str] = set()
            for provider in self.cloud.placement.resource_providers():
                path = f"/resource_providers/{provider.id}/allocations"
                consumers |= self.cloud.placement.get(path).json()["allocations"].keys()
            usage = self.cloud.compute.get_limits().absolute
            found = [
                checkers.allocations(servers, consumers),
                checkers.quotas({"instances": usage.instances_used}, {"instances": len(servers)}),
            ]
            if checkers.combine(found) != "pass":
                raise NotYet(checkers.explain(found))
            return found

        # What was deleted a moment ago may still be on its way out.
        try:
            return wait_until(balance, what="the books to balance", timeout=60)
        except DevenvError as error:
            return [Check("allocations and quotas", "fail", str(error))]

    def _keep(
        self,
        load: Load,
        checks: Sequence[Check],
        begin: float,
        stopped: float | None,
        budget: Budget,
    ) -> None:
        found = checkers.evidence(load.history, self._windows(), checks, begin, end=stopped)
        series = tuple(
            one
            if (name := one.client.split()[0]) == "boots"
            else dataclasses.replace(one, budget=budget.of(name))
            for one in found.series
            if one.client not in ("rows read", "messages consume")
        )
        logs = {} if checkers.combine(checks) == "pass" else self.containers.logs()
        self.keep(dataclasses.replace(found, series=series), logs)


def _quietly(drop: Callable[[], None]) -> None:
    """What is left behind goes with the environment: it must not hide the verdict."""
    with contextlib.suppress(DevenvError):
        drop()


def _boots(load: Load) -> Check:
    """Each server came up or was refused in words: one whose cast was lost does neither."""
    lost = [one for one in load.history.of("boots") if one.outcome == "info"]
    done = [one for one in load.history.of("boots", "boot") if one.outcome == "ok"]
    if lost:
        said = ", ".join(f"{one.value}: {one.error}" for one in lost)
        return Check("boots that came to no end", "fail", said)
    if not done:
        return Check("boots that came to no end", "unknown", "no server was ever booted")
    failed = len(load.history.of("boots", "boot")) - len(done)
    said = f"{len(done)} servers booted, {failed} refused or in ERROR, none hung"
    return Check("boots that came to no end", "pass", said)
