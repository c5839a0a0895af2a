"""Faults on a node's link to the API network: partition, loss, delay."""

from __future__ import annotations

import math
import re
from abc import abstractmethod
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

from devenv.core.errors import InputError, NodeError, Unsupported
from devenv.core.wait import NotYet
from devenv.faults import helper, rules
from devenv.faults.fault import Fault
from devenv.faults.helper import Helper
from devenv.faults.rules import Link, Peer
from devenv.faults.site import SSH_PORT, Site
from devenv.nodes.connection import Connection

#: Marks our queueing discipline among others.
HANDLE = "de0f:"
_LOAD = 'printf "%s" "$RULES" | nft -f -'
_CHECK = 'printf "%s" "$RULES" | nft --check -f -'
#: On a device of its own, which nothing uses: a pair such as Docker makes for containers.
_TRY_NETEM = """ip link add {device} type veth peer name {device}p
trap 'ip link del {device}' EXIT
tc qdisc add dev {device} root netem delay 1ms"""
#: Prints the milliseconds that each of `count` TCP connections took, up to the first that is lost:
#: it took more than `limit` seconds. TCP sends a lost SYN again after a second (RFC 6298).
_CONNECTS = """for i in $(seq {count}); do
  begin=$(date +%s%N)
  if timeout {limit} bash -c ': > /dev/tcp/{address}/{port}' 2>/dev/null
  then echo $(( ($(date +%s%N) - begin) / 1000000 )); else echo lost; break; fi
done"""


@dataclass(frozen=True)
class NetworkFault(Fault):
    """A fault that nftables or tc makes on the node.

    :param witnesses: nodes that this one reached before: by them it is seen whether it holds.
    """

    witnesses: tuple[str, ...] = field(default=(), kw_only=True)

    def prepare(self, site: Site) -> Self:
        """Find the witnesses.

        :raises InputError: when the node has such a fault already, or reaches nobody.
        """
        super().prepare(site)
        there = [one["id"] for one in helper.faults_on(site.connection(self.node))
                 if one["verb"] == self.verb]  # fmt: skip
        if there:
            raise InputError(
                f"`{self.describe()}` was not tried: the node has such a fault already",
                node=self.node,
                remedy=f"devenv fault heal {there[0]}",
            )
        others = self._others(site)
        reached = site.reached(self.node, others) if others else set()
        if not reached:
            whom = f"none of {', '.join(others)}" if others else "no other node"
            raise InputError(
                f"`{self.describe()}` was not tried: the node reaches {whom} as it is, so nobody "
                "could see its effect",
                node=self.node,
            )
        return replace(self, witnesses=tuple(one for one in others if one in reached))

    def _others(self, site: Site) -> list[str]:
        return [node.name for node in site.inventory.nodes if node.name != self.node]

    def inject(self, site: Site) -> None:
        """In a helper, which marks the node before anything is changed.

        :raises Unsupported: when the kernel, or the helper's image, lacks what it takes.
        """
        connection = site.connection(self.node)
        box = helper.create(connection, site.environment, self)
        self._probe(box)
        self._break(box, _link(connection, box), site)

    def _probe(self, box: Helper) -> None:
        box.require(_CHECK, {"RULES": rules.probe()})

    @abstractmethod
    def _break(self, box: Helper, link: Link, site: Site) -> None: ...

    def heal(self, site: Site) -> None:
        """Remove the rules, then the helper; by a new one if the node has booted since."""
        connection = site.connection(self.node)
        box = helper.find(connection, self) or helper.create(connection, site.environment, self)
        self._mend(box)
        box.remove()

    def _mend(self, box: Helper) -> None:
        box.run(_LOAD, {"RULES": rules.removal(self.id)})


@dataclass(frozen=True)
class Partition(NetworkFault):
    """The node and its peers do not hear each other on the API network.

    :param away_from: the peers. None for all the world: then nothing passes but devenv's own SSH.
    """

    away_from: tuple[str, ...] | None = None

    verb: ClassVar[str] = "partition"

    def describe(self) -> str:
        """``partition ctl2 from ctl1 and ctl3``."""
        peers = " and ".join(self.away_from) if self.away_from is not None else "all"
        return f"partition {self.node} from {peers}"

    def _others(self, site: Site) -> list[str]:
        others = super()._others(site)
        if self.away_from is None:
            return others
        return [name for name in self.away_from if site.node(name).name in others]

    def _break(self, box: Helper, link: Link, site: Site) -> None:
        if self.away_from is None:
            text = rules.isolation(self.id, link)
        else:
            addresses = [site.node(name).address for name in self._others(site)]
            macs = neighbours(box.run(f"ip -4 neigh show dev {link.device}"))
            peers = [Peer(address, macs.get(address, "")) for address in addresses]
            text = rules.partition(self.id, link, peers)
        box.run(_LOAD, {"RULES": text})

    def confirm(self, site: Site) -> None:
        """Neither side opens a TCP connection to the other."""
        asked = {self.node: self.witnesses, **dict.fromkeys(self.witnesses, (self.node,))}
        with ThreadPoolExecutor(max_workers=len(asked)) as pool:
            answers = list(pool.map(site.reached, asked.keys(), asked.values()))
        for name, reached in zip(asked, answers, strict=True):
            if reached:
                raise NotYet(f"{name} still reaches {', '.join(sorted(reached))}")


@dataclass(frozen=True)
class Lossy(NetworkFault):
    """Frames are lost at random, both ways, on the API network; devenv's own SSH is spared.

    :param percent: 1 to 99, each way.
    """

    percent: int

    verb: ClassVar[str] = "lossy"
    loses: ClassVar[bool] = False

    def describe(self) -> str:
        """``lose 20 % on the link of ctl2``."""
        return f"lose {self.percent} % on the link of {self.node}"

    def prepare(self, site: Site) -> Self:
        """Look at the figure first."""
        if not 1 <= self.percent <= 99:
            raise InputError(f"a loss of {self.percent} % is not between 1 and 99")
        return super().prepare(site)

    def _break(self, box: Helper, link: Link, site: Site) -> None:
        box.run(_LOAD, {"RULES": rules.loss(self.id, link, self.percent)})

    def confirm(self, site: Site) -> None:
        """A TCP connection to a witness is lost now and then."""
        if None not in connect_times(site, self.node, self.witnesses[0], count=20, limit=0.3):
            raise NotYet("20 connections and none was lost")


@dataclass(frozen=True)
class Delay(NetworkFault):
    """What leaves the node on the API network leaves later; devenv's own SSH, too.

    :param ms: milliseconds.
    :param before: how long a TCP connection took before, in milliseconds.
    """

    ms: int
    before: float = 0.0

    verb: ClassVar[str] = "delay"
    loses: ClassVar[bool] = False

    def describe(self) -> str:
        """``delay ctl2 by 200 ms``."""
        return f"delay {self.node} by {self.ms} ms"

    def prepare(self, site: Site) -> Self:
        """Look at the figure first."""
        if not 1 <= self.ms <= 10_000:
            raise InputError(f"a delay of {self.ms} ms is not between 1 and 10000")
        ready = super().prepare(site)
        return replace(ready, before=_fastest(site, self.node, ready.witnesses[0]))

    def _probe(self, box: Helper) -> None:
        box.require(_TRY_NETEM.format(device=f"probe-{self.id}"[:14]))

    def _break(self, box: Helper, link: Link, site: Site) -> None:
        # A second's worth of frames at 10 Gbit/s; the kernel's own limit of 1000 would lose some.
        box.run(
            f"tc qdisc add dev {link.device} root handle {HANDLE} "
            f"netem delay {self.ms}ms limit 1000000"
        )

    def _mend(self, box: Helper) -> None:
        for device in delayed(box.run("tc qdisc show")):
            box.run(f"tc qdisc del dev {device} root handle {HANDLE}")

    def confirm(self, site: Site) -> None:
        """A TCP connection to a witness, one round trip, takes nearly as much longer."""
        now = _fastest(site, self.node, self.witnesses[0], limit=self.ms / 1000 + 3)
        if now < self.before + 0.9 * self.ms:
            raise NotYet(f"a connection took {now:.0f} ms, and {self.before:.0f} ms before")


def connect_times(
    site: Site, name: str, witness: str, *, count: int, limit: float
) -> list[float | None]:
    """The milliseconds of TCP connections from a node to a witness; None in the end if one took
    more than `limit`.

    :param limit: seconds.
    """
    line = _CONNECTS.format(
        count=count, limit=limit, address=site.node(witness).address, port=SSH_PORT
    )
    out = site.connection(name).run(line, timeout=60).stdout.decode().split()
    return [None if word == "lost" else float(word) for word in out]


def _fastest(site: Site, name: str, witness: str, limit: float = 3) -> float:
    """The least that each of three TCP connections took, in milliseconds; infinite if lost."""
    times = connect_times(site, name, witness, count=3, limit=limit)
    return min((took for took in times if took is not None), default=math.inf)


def neighbours(text: str) -> dict[str, str]:
    """Hardware addresses by IPv4 address, from ``ip -4 neigh show``."""
    return dict(re.findall(r"^(\S+) .*?\blladdr (\S+)", text, re.MULTILINE))


def delayed(text: str) -> list[str]:
    """The devices that have our queueing discipline, from ``tc qdisc show``."""
    return re.findall(rf"^qdisc netem {HANDLE} dev (\S+)", text, re.MULTILINE)


def _link(connection: Connection, box: Helper) -> Link:
    """Ask the node where its API address is and where devenv's SSH comes from (ssh(1))."""
    node = connection.node
    words = connection.run('echo "$SSH_CONNECTION"').stdout.decode().split()
    if len(words) != 4 or ":" in words[0]:
        raise Unsupported(
            f"the SSH connection to it would not be spared: it comes from {words or 'nowhere'}",
            node=node.name,
        )
    client, _, server, port = words
    device = re.search(r"^\d+: (\S+)", box.run(f"ip -4 -o address show to {node.address}"))
    if device is None:
        raise NodeError(f"no device has its address {node.address}", node=node.name)
    router = re.search(r"\bvia (\S+)", box.run(f"ip -4 route get {client}"))
    return Link(device[1], client, server, int(port), router[1] if router else client)
