"""Rules that let the nodes of an environment talk through a host's firewall, marked as ours.

Nothing is switched off. Where nothing filters what comes in, nothing is added.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from devenv.providers.baremetal_ssh import Shell

#: Part of the script of facts. iptables is asked only where its old tables are in use: listing
#: them would load their modules.
FACTS = """
fact firewalld; command -v firewall-cmd >/dev/null && firewall-cmd --state 2>/dev/null \\
  && firewall-cmd --zone=trusted --list-sources
fact ufw; command -v ufw >/dev/null && ufw status 2>/dev/null
fact nft; command -v nft >/dev/null && nft -j list ruleset 2>/dev/null
fact iptables; { grep -qsx filter /proc/net/ip_tables_names || ! command -v nft >/dev/null; } \\
  && command -v iptables >/dev/null && iptables -S INPUT 2>/dev/null
"""

Kind = Literal["none", "firewalld", "ufw", "nft", "iptables"]


@dataclass(frozen=True)
class Filters:
    """What filters packets to a host.

    :param chains: nftables' base chains that drop or reject, each as family, table and chain.
    :param accepted: addresses that the manager accepts already; firewalld and ufw only.
    :param marked: rules with a comment, each as comment and source address.
    """

    kind: Kind = "none"
    chains: tuple[tuple[str, str, str], ...] = ()
    accepted: frozenset[str] = frozenset()
    marked: frozenset[tuple[str, str]] = frozenset()

    @classmethod
    def parse(
        cls,
        *,
        firewalld: Sequence[str],
        ufw: Sequence[str],
        nft: Sequence[str],
        iptables: Sequence[str],
    ) -> Filters:
        """From the facts' lines. The managers come first: their rules are nftables' as well."""
        if firewalld[:1] == ["running"]:
            return cls("firewalld", accepted=frozenset(" ".join(firewalld[1:]).split()))
        if ufw[:1] == ["Status: active"]:
            allowed = (line.split("#")[0].split() for line in ufw if "ALLOW" in line)
            return cls("ufw", accepted=frozenset(w[-1] for w in allowed if w[0] == "Anywhere"))
        entries = _entries("\n".join(nft))
        if chains := _refusing(entries):
            return cls("nft", chains, marked=_marked(entries))
        if any(line.startswith("-P INPUT DROP") or " DROP" in line or " REJECT" in line
               for line in iptables):  # fmt: skip
            rule = re.compile(r'-s ([0-9.]+)/32 .*--comment "?([^" ]+)')
            found = (match for line in iptables if (match := rule.search(line)))
            return cls("iptables", marked=frozenset((m[2], m[1]) for m in found))
        return cls()


def _entries(text: str) -> list[dict[str, Any]]:
    """What ``nft -j list ruleset`` lists (libnftables-json(5))."""
    try:
        return list(json.loads(text)["nftables"]) if text else []
    except (ValueError, KeyError):
        return []


def _rules(entries: list[dict[str, Any]]) -> Iterator[tuple[tuple[str, str, str], dict[str, Any]]]:
    for entry in entries:
        if rule := entry.get("rule"):
            yield (rule["family"], rule["table"], rule["chain"]), rule


def _refusing(entries: list[dict[str, Any]]) -> tuple[tuple[str, str, str], ...]:
    """The base chains on the way in that refuse something, themselves or where they jump to."""
    verbs = ("drop", "reject", "jump", "goto")
    refusing = {
        key
        for key, rule in _rules(entries)
        if any(verb in part for part in rule.get("expr", ()) for verb in verbs)
    }
    found = []
    for chain in (entry["chain"] for entry in entries if "chain" in entry):
        key = (chain["family"], chain["table"], chain["name"])
        refuses = chain.get("policy") == "drop" or key in refusing
        if chain.get("hook") == "input" and refuses and key[0] in ("ip", "inet"):
            found.append(key)
    return tuple(found)


def _marked(entries: list[dict[str, Any]]) -> frozenset[tuple[str, str]]:
    found = set()
    for _, rule in _rules(entries):
        for part in rule.get("expr", ()):
            match = part.get("match") or {}
            if match.get("left") == {"payload": {"protocol": "ip", "field": "saddr"}}:
                found.add((str(rule.get("comment", "")), str(match.get("right"))))
    return frozenset(found)


def allow(shell: Shell, filters: Filters, environment: str, addresses: Iterable[str]) -> None:
    """Accept what comes from `addresses`; it is nothing where that was done before.

    With firewalld and ufw the caller has to have written down what :func:`sources` says.
    """
    wanted = sorted(set(addresses))
    mark = f"devenv:{environment}"
    lines: list[str] = []
    if filters.kind == "firewalld" or filters.kind == "ufw":
        for address in sources(filters, wanted):
            lines += _manager(filters.kind, address, add=True, mark=mark)
    elif filters.kind != "none":
        has = {address for comment, address in filters.marked if comment == mark}
        if has - set(wanted):
            lines.append(_REMOVE.format(mark=mark))
            has = set()
        for address in wanted:
            if address not in has:
                lines += _accept(filters, address, mark)
    if lines:
        shell.run("\n".join(['set -e; export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin"', *lines]))


def _accept(filters: Filters, address: str, mark: str) -> Iterator[str]:
    # An iptables that is a front of nftables reads its own tables only if it wrote them.
    fronted = ("ip", "filter", "INPUT")
    if filters.kind == "iptables" or fronted in filters.chains:
        rule = f"INPUT -s {address}/32 -m comment --comment {mark} -j ACCEPT"
        yield f"iptables -w -C {rule} 2>/dev/null || iptables -w -I {rule}"
    for family, table, chain in filters.chains:
        if (family, table, chain) != fronted:
            yield (
                f"nft insert rule {family} {shlex.quote(table)} {shlex.quote(chain)} "
                f"ip saddr {address} accept comment '\"{mark}\"'"
            )


def sources(filters: Filters, addresses: Iterable[str]) -> tuple[str, ...]:
    """Those of `addresses` that firewalld or ufw would be told anew to accept."""
    if filters.kind not in ("firewalld", "ufw"):
        return ()
    return tuple(sorted(set(addresses) - filters.accepted))


def removal(environment: str, told: Iterable[str]) -> str:
    """A script that takes our rules away, whatever kept them.

    :param told: what firewalld or ufw were told.
    """
    lines = [_REMOVE.format(mark=f"devenv:{environment}")]
    for address in told:
        lines += [f"{line} || true" for line in _manager("firewalld", address, add=False)]
        lines += [f"{line} || true" for line in _manager("ufw", address, add=False)]
    return "\n".join(lines)


_REMOVE = """
if command -v nft >/dev/null; then
  nft -a list ruleset 2>/dev/null | awk '
    $1 == "table" {{ family = $2; table = $3 }}
    $1 == "chain" {{ chain = $2 }}
    index($0, "comment \\"{mark}\\"") {{ print family, table, chain, $NF }}' |
  while read -r family table chain handle; do
    nft delete rule "$family" "$table" "$chain" handle "$handle"
  done
fi
if command -v iptables >/dev/null; then
  if grep -qsx filter /proc/net/ip_tables_names || nft list chain ip filter INPUT >/dev/null 2>&1 \\
     || ! command -v nft >/dev/null; then
    iptables -w -S INPUT 2>/dev/null | sed 's/"//g' | grep -F -- '--comment {mark} ' |
      sed 's/^-A/-D/' |
    while read -r rule; do iptables -w $rule; done
  fi
fi
"""


def _manager(kind: Kind, address: str, *, add: bool, mark: str = "") -> list[str]:
    if kind == "ufw":
        if add:
            return [f"ufw allow from {address} comment {mark}"]
        return [f"! command -v ufw >/dev/null || ufw delete allow from {address}"]
    verb = "add" if add else "remove"
    guard = "" if add else "! command -v firewall-cmd >/dev/null || "
    return [
        f"{guard}firewall-cmd -q {more} --zone=trusted --{verb}-source={address}"
        for more in ("", "--permanent")
    ]
