"""The nftables rules of a fault: text in, text out.

A table of the family ``netdev`` on the device with the node's API address sees every frame in
both directions: IP, ARP, what a tunnel wraps, what is routed, and what a program writes as raw
frames, as keepalived does to announce the virtual IP (nft(8), "NETDEV ADDRESS FAMILY"; the egress
hook needs Linux 5.16). Nothing is remembered of a connection, so established ones are cut, too.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

#: Followed by a fault's id.
TABLE = "devenv_fault_"
_PRIORITY = -500


@dataclass(frozen=True)
class Link:
    """The node's place on the API network, and how devenv's SSH comes to it.

    :param device: the device that has the node's API address.
    :param client: the address that devenv's SSH comes from, as the node sees it.
    :param server: the address and port that it comes to.
    :param hop: the next hop on the way to `client`: itself, or a router.
    """

    device: str
    client: str
    server: str
    port: int
    hop: str


@dataclass(frozen=True)
class Peer:
    """A node to be cut off from.

    :param mac: its hardware address; empty where it is not on the same link.
    """

    address: str
    mac: str = ""


def isolation(id: str, link: Link) -> str:
    """Everything is dropped but devenv's SSH."""
    return _table(id, link, ["drop"], ["drop"])


def partition(id: str, link: Link, peers: Iterable[Peer]) -> str:
    """Everything from and to `peers` is dropped.

    By hardware address as well, since a peer may hold the virtual IP now or later.
    """
    chosen = list(peers)
    addresses = _set(peer.address for peer in chosen)
    macs = _set(peer.mac for peer in chosen if peer.mac)
    arriving = [f"ip saddr {addresses} drop", f"arp saddr ip {addresses} drop"]
    leaving = [f"ip daddr {addresses} drop", f"arp daddr ip {addresses} drop"]
    if macs:
        arriving.append(f"ether saddr {macs} drop")
        leaving.append(f"ether daddr {macs} drop")
    return _table(id, link, arriving, leaving)


def loss(id: str, link: Link, percent: int) -> str:
    """Of what arrives and of what leaves, `percent` of 100 frames are dropped."""
    rule = f"numgen random mod 100 < {percent} drop"
    return _table(id, link, [rule], [rule])


def probe() -> str:
    """The hooks and expressions of the others, on the loopback device: to be checked, not loaded.

    ``nft --check`` has the kernel look at a batch and drop it (nft(8)).
    """
    rules = ["ip saddr { 192.0.2.1 } drop", "arp saddr ip 192.0.2.1 drop",
             "numgen random mod 100 < 1 drop"]  # fmt: skip
    chains = [_chain(hook, "lo", rules) for hook in ("ingress", "egress")]
    return f"table netdev {TABLE}probe {{\n{''.join(chains)}}}\n"


def removal(id: str) -> str:
    """Takes the table away, and does nothing if there is none: it is declared first."""
    table = f"table netdev {TABLE}{id}"
    return f"{table}\ndelete {table}\n"


def _table(id: str, link: Link, arriving: Iterable[str], leaving: Iterable[str]) -> str:
    spared_in = [
        f"ip saddr {link.client} ip daddr {link.server} tcp dport {link.port} accept",
        f"arp saddr ip {link.hop} arp daddr ip {link.server} accept",
    ]
    spared_out = [
        f"ip saddr {link.server} ip daddr {link.client} tcp sport {link.port} accept",
        f"arp saddr ip {link.server} arp daddr ip {link.hop} accept",
    ]
    chains = [
        _chain("ingress", link.device, [*spared_in, *arriving]),
        _chain("egress", link.device, [*spared_out, *leaving]),
    ]
    # Declared and deleted first: whatever a try before this one left is replaced.
    return f"{removal(id)}table netdev {TABLE}{id} {{\n{''.join(chains)}}}\n"


def _chain(hook: str, device: str, rules: Iterable[str]) -> str:
    lines = [
        f'type filter hook {hook} device "{device}" priority {_PRIORITY}; policy accept;',
        *rules,
    ]
    return f"  chain {hook} {{\n" + "".join(f"    {line}\n" for line in lines) + "  }\n"


def _set(values: Iterable[str]) -> str:
    found = ", ".join(sorted(values))
    return f"{{ {found} }}" if found else ""
