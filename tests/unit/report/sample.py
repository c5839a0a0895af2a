"""A run as a failover suite leaves it, and the journal of the `up` before it: made up, seeded.

``python tests/unit/report/sample.py FOLDER`` writes results, journal and page there, to look at.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devenv.report import page
from devenv.report.results import Check, Evidence, Figure, Point, Result, Run, Series, Window

NODES = {"ctl1": "control", "ctl2": "control", "ctl3": "control", "cmp1": "compute",
         "cmp2": "compute"}  # fmt: skip
#: client: (seconds between operations, usual latency, budget, outage in shares of the fault's).
CLIENTS = {
    "rows write": (0.05, 0.006, 3.0, 1.0),
    "rows read": (0.05, 0.002, 3.0, 0.95),
    "tokens": (0.25, 0.09, 5.0, 1.1),
    "messages publish": (0.1, 0.004, 5.0, 0.8),
    "servers": (0.5, 0.14, 8.0, 1.2),
    "ping guest": (0.1, 0.0008, 1.0, 0.05),
}


@dataclass(frozen=True)
class Broken:
    """A test: what it breaks, and for how many seconds clients notice."""

    test: str
    faults: tuple[str, ...]
    outage: float
    ends: str = "passed"


TESTS = (
    Broken("test_vip_holder.py::test_haproxy_is_killed", ("kill haproxy on ctl2",), 1.9),
    Broken("test_vip_holder.py::test_keepalived_is_killed", ("kill keepalived on ctl2",), 2.6),
    Broken("test_vip_holder.py::test_powered_off", ("power off ctl2",), 2.8),
    Broken("test_vip_holder.py::test_partitioned", ("partition ctl2 from all",), 2.4),
    Broken("test_database.py::test_primary[kill]", ("kill mariadb on ctl1",), 2.1),
    Broken("test_database.py::test_primary[pause]", ("pause mariadb on ctl1",), 4.4, "failed"),
    Broken("test_database.py::test_primary[power_off]", ("power off ctl1",), 2.9),
    Broken("test_messages.py::test_rabbitmq_is_killed", ("kill rabbitmq on ctl3",), 1.2),
    Broken("test_partition.py::test_minority", ("partition ctl3 from ctl1, ctl2",), 0.9, "unknown"),
    Broken("test_power.py::test_all_controllers", ("power off ctl1", "power off ctl2",
                                                   "power off ctl3"), 21.0),
    Broken("test_power.py::test_compute_is_reset", ("reset cmp1",), 0.2),
    Broken("test_restart.py::test_rolling", ("restart ctl1's containers",
           "restart ctl2's containers", "restart ctl3's containers"), 1.1),
)  # fmt: skip


def run(seed: int = 3) -> Run:
    """The run: twelve failover tests with six clients each, and three others."""
    dice = random.Random(seed)
    results = [_result(broken, dice) for broken in TESTS]
    results[7].attempts = 2
    results += [
        Result("test_nova_boot.py::test_boot", seconds=31.2, figures=[
            Figure("boot to answer", 17.31, "s"), Figure("bulk TCP down", 107.2, "MB/s"),
            Figure("pings lost", 0, "packets")]),
        Result("test_converge.py::test_second_up", seconds=4.6,
               figures=[Figure("containers touched", 0), Figure("up", 2.2, "s")]),
        Result("test_link.py::test_slow_link", "skipped", 0.01,
               "ctl1: the kernel has no netem, which slow links need"),
    ]  # fmt: skip
    return Run("ha", results, facts(), began=1772373840.0)


def _result(broken: Broken, dice: random.Random) -> Result:
    first, wait = 8.0 + dice.random(), 9.0
    windows, at = [], first
    for fault in broken.faults:
        together = "all_controllers" in broken.test
        held = at + dice.uniform(0.1, 0.6)
        healed = held + (broken.outage * 0.55 if together else dice.uniform(7, 12))
        windows.append(Window(fault, at, held, healed))
        at = at + 0.05 if together else healed + 5
    end = max(window.healed for window in windows) + wait + broken.outage * 0.5
    outages = [(w.begin, broken.outage) for w in windows]
    if "all_controllers" in broken.test:
        outages = outages[:1]
    series, checks = [], []
    for client, (pause, usual, budget, share) in CLIENTS.items():
        lived, gaps = _live(pause, usual, [(b, o * share) for b, o in outages], end, dice)
        if "all_controllers" in broken.test:
            budget = 60.0
        found = Series(client, lived, gaps, budget)
        series.append(found)
        longest = max((b - a for a, b in gaps), default=pause)
        checks.append(Check(
            f"longest gap of {client}", "fail" if longest > budget else "pass",
            f"{longest:.2f} s without success (budget {budget:.2f} s, without a fault {pause:.2f} "
            f"s, {len(gaps)} outages)"))  # fmt: skip
    rows = sum(point.outcome == "ok" for point in series[0].points)
    checks += [
        Check("lost rows", "pass", f"none of {rows} acknowledged rows is missing on "
              "ctl1, ctl2, ctl3"),
        Check("duplicated rows", "pass", "every row is there once on ctl1, ctl2, ctl3"),
        Check("members that disagree", "pass", f"ctl1, ctl2, ctl3 have the same {rows} rows"),
        Check("lost messages", "pass", "all of 312 acknowledged messages came"),
        Check("VIP holder", "pass", "held by ctl1"),
    ]  # fmt: skip
    if broken.ends == "unknown":
        checks.append(Check("stale reads", "unknown",
                            "no read was answered after a write was acknowledged"))  # fmt: skip
    figures = [
        Figure(f"{client} {name} {phase}", usual * factor * dice.uniform(0.9, 1.4), "s")
        for client, (_, usual, _, _) in CLIENTS.items()
        for phase in ("before", "during", "after")
        for name, factor in (("p50", 1.0), ("p99", 6.0))
    ]
    result = Result(f"failover/{broken.test}", broken.ends, end + 14, figures=figures,
                    evidence=Evidence(tuple(windows), tuple(series), tuple(checks)))  # fmt: skip
    if broken.ends == "failed":
        bad = next(check for check in checks if check.verdict == "fail")
        result.reason = f"fail: {bad.name}: {bad.said}\nassert 'fail' == 'pass'"
        result.detail = _DETAIL.format(said=result.reason)
        result.logs = {f"ctl{n}/mariadb": _LOG * 6 for n in (1, 2, 3)}
        result.logs["ctl2/haproxy"] = "[WARNING] Server galera/ctl1 is DOWN <not synced>\n"
    elif broken.ends == "unknown":
        result.reason = "unknown: stale reads: no read was answered after a write was acknowledged"
    return result


def _live(
    pause: float, usual: float, outages: list[tuple[float, float]], end: float, dice: random.Random
) -> tuple[tuple[Point, ...], tuple[tuple[float, float], ...]]:
    points, at, last, gaps = [], dice.uniform(0, pause), 0.0, []
    while at < end:
        took = usual * dice.lognormvariate(0, 0.35) * (6 if dice.random() < 0.01 else 1)
        fault = next(((b, o) for b, o in outages if b <= at < b + o), None)
        outcome = "ok"
        if fault and fault[1] > 0.3:
            left = fault[0] + fault[1] - at
            kind = dice.random()
            if kind < 0.12 or left < 0.2:
                took, outcome = min(left + usual, 1.0 + dice.random()), "info"
            else:
                took, outcome = min(usual * 4, left), "failed"
        elif any(b + o <= at < b + o + 2 for b, o in outages):
            took *= dice.uniform(1, 6)
        points.append(Point(at, took, outcome))
        if outcome == "ok":
            if at + took > outages[0][0] and at + took - last > pause * 3 + 0.5:
                gaps.append((last, at + took))
            last = at + took
        at += max(pause, took)
    return tuple(points), tuple(gaps)


_DETAIL = """scenarios/failover/test_database.py:41: in test_primary
    judged.assert_pass()
devenv/testing/verdict.py:88: in assert_pass
    assert combine(checks) == "pass", explain(checks)
E   AssertionError: {said}
"""
_LOG = """2026-03-01 14:12:07 0 [Note] WSREP: (6f0c, 'tcp://0.0.0.0:4567') message relay on
2026-03-01 14:12:09 0 [Note] WSREP: declaring node with index 0 suspected, timeout PT2S
2026-03-01 14:12:11 0 [Note] WSREP: New COMPONENT: primary = yes, my_idx = 1, memb_num = 2
2026-03-01 14:12:11 2 [Note] WSREP: Server status change synced -> joined
"""

# -- what `devenv status` says -----------------------------------------------------------------

SERVICES = {
    "mariadb": ("control", "mariadb"),
    "rabbitmq": ("control", "rabbitmq"),
    "memcached": ("control", "memcached"),
    "loadbalancer": ("control", "haproxy", "keepalived"),
    "keystone": ("control", "keystone"),
    "glance": ("control", "glance_api"),
    "placement": ("control", "placement_api"),
    "nova": ("control", "nova_api", "nova_conductor", "nova_scheduler"),
    "nova_cell": ("compute", "nova_compute", "nova_libvirt"),
    "neutron": ("control", "neutron_server", "neutron_rpc_server"),
    "ovn": ("control", "ovn_nb_db", "ovn_sb_db", "ovn_northd"),
    "openvswitch": ("", "openvswitch_db", "openvswitch_vswitchd", "ovn_controller"),
}
JOBS = ("mariadb_bootstrap", "keystone_db_sync", "keystone_bootstrap", "glance_db_sync",
        "nova_db_sync", "neutron_db_sync", "cloud_seed", "cloud_guest")  # fmt: skip


def facts() -> dict[str, Any]:
    """Five nodes."""
    nodes = []
    for number, (node, role) in enumerate(NODES.items(), 11):
        containers = [
            _container(service, name, "container", node)
            for service, (where, *names) in SERVICES.items()
            for name in names
            if where in ("", role)
        ]
        if node == "ctl1":
            containers += [_container(name.split("_")[0], name, "job", node) for name in JOBS]
        roles = [role, "network"] if role == "control" else [role]
        nodes.append({"name": node, "roles": roles, "address": f"172.30.0.{number}",
                      "external": f"172.31.0.{number}/24", "containers": containers})  # fmt: skip
    return {
        "environment": "ha",
        "release": "2026.1",
        "topology": "multinode",
        "cloud": "devenv-ha",
        "vip": "172.30.0.250",
        "nodes": nodes,
        "guest": {"name": "first", "address": "172.31.0.150", "answers": True},
    }


def _container(service: str, name: str, kind: str, node: str) -> dict[str, Any]:
    job = kind == "job"
    broken = (node, name) == ("ctl3", "ovn_northd")
    return {
        "name": name,
        "service": service,
        "kind": kind,
        "image": f"devenv/{name.replace('_', '-')}:2026.1-4c1f0a9e",
        "state": "exited" if job or broken else "running",
        "status": "Exited (0)" if job else "Exited (137)" if broken else "Up 14 minutes",
        "exit_code": 0 if job else 137 if broken else None,
    }


# -- the journal -------------------------------------------------------------------------------


def journal(seed: int = 5, steps: int = 200) -> Iterator[dict[str, Any]]:
    """Rows of an earlier, broken `up` and of a good one with `steps` steps, oldest first."""
    yield _row(50.0, 41, "start", "store", None, "image", "start from nothing")
    yield _row(53.0, 41, "failed", "ctl1", "ctl1", "node", "no room", 3.0)
    dice, rows, begin = random.Random(seed), [], 1772373600.0
    chain = []
    free = dict.fromkeys(NODES, 9.0)
    work = [("store", None, "image", 0.1, 1.9), *((n, n, "node", 2.2, 3.4) for n in NODES),
            *(("images", n, "image", 5.7, 2.6) for n in NODES)]  # fmt: skip
    names = [(service, name) for service, (_, *all_) in SERVICES.items() for name in all_]
    while len(work) < steps:
        node = min(free, key=lambda one: free[one] + dice.random())
        service, name = names[len(work) % len(names)]
        kind = dice.choices(["container", "job", "ready"], [6, 2, 3])[0]
        took = {"container": dice.lognormvariate(0.7, 0.7), "job": dice.lognormvariate(1.2, 0.6),
                "ready": dice.uniform(0.05, 0.5)}[kind]  # fmt: skip
        step = f"{name}_{len(work)}" if kind != "job" else f"{service}_db_sync_{len(work)}"
        work.append((step, node, kind, free[node], took))
        if node == "ctl1" and kind != "ready":
            chain.append(f"{node}/{step}")
        free[node] += took * dice.uniform(0.25, 1.0)
    for step, node, kind, at, took in work:
        rows.append(_row(begin + at, 77, "start", step, node, kind, "there is none"))
        rows.append(_row(begin + at + took, 77, "done", step, node, kind, "", took))
    rows.sort(key=lambda row: row["at"])
    yield from rows
    last = rows[-1]["at"]
    yield _row(last, 77, "note", "critical path", None, "critical-path", " > ".join(chain[::4]))
    yield _row(last + 90, 99, "start", "kill haproxy on ctl2", "ctl2", "fault", "")


def _row(
    at: float, pid: int, kind: str, step: str, node: str | None, type: str, text: str,
    seconds: float | None = None,
) -> dict[str, Any]:  # fmt: skip
    return {"at": at, "pid": pid, "kind": kind, "step": step, "node": node, "type": type,
            "text": text, "seconds": seconds}  # fmt: skip


def write_journal(path: Path) -> Path:
    """The journal as a file."""
    path.write_text("".join(json.dumps(row) + "\n" for row in journal()))
    return path


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    made = page.publish("ha", run(), write_journal(folder / page.JOURNAL), folder)
    sys.stdout.write(f"{made}\n")
