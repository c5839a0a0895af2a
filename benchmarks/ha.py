"""A highly available cloud: how long it takes, what it weighs, and what its faults cost.

    make bench-ha                                # everything, the failover suite ten times (hours)
    make bench-ha ARGS="--runs 1"                # once
    make bench-ha ARGS="--runs 0"                # without faults (minutes)
    make bench-ha ARGS="--scenario failover/loadbalancer --results results"

docs/benchmarks.md says what each figure means. A part that fails is named in the end, and the
others are measured all the same.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import measure
from benchmarks.measure import Devenv, Report
from devenv.core import labels, paths
from devenv.core.errors import DevenvError
from devenv.core.wait import NotYet, wait_until
from devenv.host.engine import connect
from devenv.report import results
from devenv.report.results import Figure, Result

NAME = "bench-ha"
IDLE = 30.0  # seconds
#: Rows that a wiped node gets back from the others.
ROWS = 1000
TABLE = "devenv_bench.kept"
WRITE = f"""
CREATE DATABASE devenv_bench;
USE devenv_bench;
CREATE TABLE {TABLE} (id BIGINT PRIMARY KEY);
INSERT INTO {TABLE} SELECT seq FROM seq_1_to_{ROWS};
"""
READ = f"SET SESSION wsrep_sync_wait = 1; SELECT COUNT(*) FROM {TABLE};"
MEMBERS = "SHOW STATUS LIKE 'wsrep_cluster_size'"
#: How the scenarios' figures of a client's longest time without success begin.
GAP = "longest gap of "


# -- faults ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Attempt:
    """One run of the failover suite.

    :param bad: the tests that did not pass, with their verdicts.
    """

    run: int
    seconds: float
    passed: int
    of: int
    bad: str


@dataclass(frozen=True)
class Gap:
    """A client's longest time without success during one fault, over all runs. Seconds."""

    scenario: str
    fault: str
    client: str
    runs: int
    median: float
    worst: float


@dataclass(frozen=True)
class Verdicts:
    """How often a fault's test passed."""

    scenario: str
    fault: str
    passed: int
    of: int


def attempt(number: int, seconds: float, found: Sequence[Result]) -> Attempt:
    """A run from its results; what was skipped does not count."""
    ran = [one for one in found if one.verdict != "skipped"]
    bad = [f"{one.title}: {one.verdict}" for one in ran if one.verdict != "passed"]
    return Attempt(number, seconds, len(ran) - len(bad), len(ran), "; ".join(bad) or "-")


def gaps(runs: Iterable[Sequence[Result]]) -> list[Gap]:
    """Every gap that was measured, whatever the verdict, by fault and client."""
    seen: dict[tuple[str, str, str], list[float]] = {}
    for result in (one for found in runs for one in found):
        for figure in result.figures:
            if figure.name.startswith(GAP):
                key = result.scenario, result.title, figure.name.removeprefix(GAP)
                seen.setdefault(key, []).append(figure.value)
    return [Gap(*key, len(each), float(median(each)), max(each)) for key, each in seen.items()]


def verdicts(runs: Iterable[Sequence[Result]]) -> list[Verdicts]:
    """How often each test passed, of the times that it was not skipped."""
    seen: dict[tuple[str, str], list[bool]] = {}
    for result in (one for found in runs for one in found if one.verdict != "skipped"):
        key = result.scenario, result.title
        seen.setdefault(key, []).append(result.verdict == "passed")
    return [Verdicts(*key, sum(passed), len(passed)) for key, passed in seen.items()]


def measure_faults(
    report: Report, devenv: Devenv, names: Sequence[str], runs: int, keep: Path | None
) -> None:
    """Run the scenarios `names` again and again.

    :param keep: a folder for the results of each run, as ``devenv test`` writes them.
    """
    found: list[list[Result]] = []
    path = paths.environment(NAME) / "results.json"
    try:
        for number in range(1, runs + 1):
            well = False
            with report.part(f"failover, run {number} of {runs}"):
                # `devenv test` merges into what is there: what did not run would count twice.
                path.unlink(missing_ok=True)
                seconds = devenv.test(*names).seconds
                run = results.read(path)
                if keep:
                    results.write(keep / f"failover-{number}.json", run)
                found.append(run.results)
                report.add("runs", attempt(number, seconds, run.results))
                well = all(one.verdict not in results.BAD for one in run.results)
            if not well:
                with report.part(f"up after run {number}"):
                    devenv("up")
    finally:
        if found:
            passed = sum(one.passed == one.of > 0 for one in report.tables["runs"])
            report.figures(Figure(f"failover runs that passed, of {len(found)}", passed))
            report.add("faults that passed", *verdicts(found))
            report.add("longest gap without success, seconds", *gaps(found))


def failover_scenarios(devenv: Devenv) -> list[str]:
    """All of them by name."""
    return [name for name in devenv("test", "--list").data if name.startswith("failover/")]


# -- a wiped node ----------------------------------------------------------------------


def measure_wiped(report: Report, devenv: Devenv, nodes: Sequence[Mapping[str, Any]]) -> None:
    """Remove the last controller with all that it has; `up` brings it back, and its rows."""
    control = [node for node in nodes if "control" in node["roles"]]
    first, lost, address = control[0]["name"], control[-1]["name"], control[-1]["address"]
    sql(devenv, first, WRITE)
    wipe(lost)
    again = devenv("up")
    report.figures(*again.figures("up after one wiped controller"))

    def whole() -> tuple[int, int, int]:
        rows = int(sql(devenv, lost, READ).split()[-1])
        database = int(sql(devenv, lost, MEMBERS).split()[-1])
        queue = members(devenv, lost, address)
        if (rows, database, queue) != (ROWS, len(control), len(control)):
            raise NotYet(f"{rows} rows, {database} members of Galera, {queue} of RabbitMQ")
        return rows, database, queue

    what = f"{ROWS} rows on {lost} and {len(control)} members"
    rows, database, queue = wait_until(whole, what=what, timeout=60, interval=2, longest=5)
    report.figures(
        Figure(f"  rows on it again, of {ROWS}", rows),
        Figure("  members of Galera", database),
        Figure("  members of RabbitMQ", queue),
    )


def wipe(node: str) -> None:
    """Remove a local node's container and volume."""
    client = connect(timeout=600)
    match = {"label": [f"{labels.ENVIRONMENT}={NAME}", f"{labels.NODE}={node}"]}
    containers = client.containers.list(all=True, filters=match)
    if not containers:
        raise DevenvError("there is no container to wipe", node=node)
    for container in containers:
        container.remove(force=True, v=True)
    for volume in client.volumes.list(filters=match):
        volume.remove(force=True)


def sql(devenv: Devenv, node: str, statements: str) -> str:
    """What the database of a node prints."""
    login = ["mariadb", "--defaults-file=/var/lib/mysql-client.cnf", "--batch"]
    command = [*login, "--skip-column-names", "--execute", statements]
    return devenv.text("exec", "mariadb", "--node", node, "--", *command)


def members(devenv: Devenv, node: str, address: str) -> int:
    """Nodes of RabbitMQ that run in the cluster that `node` is in."""
    command = ["rabbitmqctl", "--quiet", "--longnames", "--node", f"rabbit@{address}"]
    asked = [*command, "cluster_status", "--formatter", "json"]
    told = devenv.text("exec", "rabbitmq", "--node", node, "--", *asked)
    return len(json.loads(told)["running_nodes"])


# -- all of it -------------------------------------------------------------------------


def measure_ha(
    report: Report, devenv: Devenv, runs: int, names: Sequence[str], keep: Path | None
) -> None:
    """The life of one environment."""
    devenv("images", "build", "--topology", "multinode")
    first = devenv("up", "--topology", "multinode")
    report.figures(*first.figures("cached up to a guest that answers"))
    if not (first.data["guest"] or {}).get("answers"):
        raise DevenvError("`devenv up` ended, and the guest does not answer")
    report.figures(*measure.deploy_figures(first.data["timeline"]))
    report.add("critical path", *measure.critical_path(first.data["timeline"]))
    nodes = [node["name"] for node in first.data["nodes"]]
    with report.part("second up"):
        second = devenv("up")
        report.figures(*second.figures("second up, nothing to change"))
        report.figures(Figure("  changed", len(second.data["changed"])))
    with report.part("memory"):
        report.add("PSS, MiB", *measure.weigh(devenv, nodes))
    with report.part("idle CPU"):
        share = measure.cpu_share(devenv, nodes, IDLE)
        report.figures(Figure(f"CPU of all nodes, idle, over {IDLE:.0f} s, of all cores", share))
    with report.part("wiped node"):
        measure_wiped(report, devenv, first.data["nodes"])
    if "wiped node" in report.errors:
        with report.part("up after the wiped node"):
            devenv("up")
    if runs:
        with report.part("failover"):
            names = names or failover_scenarios(devenv)
            measure_faults(report, devenv, names, runs, keep)
    with report.part("down"):
        report.figures(Figure("down", devenv("down").seconds, "s"))


def main(arguments: list[str] | None = None) -> int:
    """Run everything in order and print the tables."""
    parser = measure.parser(__doc__ or "")
    parser.add_argument(
        "--runs", type=int, default=10, help="of the failover suite; 0: no faults  [default: 10]"
    )
    parser.add_argument(
        "--scenario", action="append", default=[], dest="names", metavar="NAME",
        help="only this one, such as failover/loadbalancer; may be given several times",
    )  # fmt: skip
    parser.add_argument(
        "--results", type=Path, metavar="FOLDER", help="keep the results of each run there"
    )
    options = parser.parse_args(arguments)

    def all_parts(report: Report) -> None:
        with measure.environment(NAME) as devenv:
            measure_ha(report, devenv, options.runs, options.names, options.results)

    return measure.run("highly available", options.output, all_parts)


if __name__ == "__main__":
    sys.exit(main())
