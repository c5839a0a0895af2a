"""How wall time grows with the number of nodes, when there is next to nothing to deploy on them.

    make bench-nodes                             # 3, 5, 10, 20 nodes
    make bench-nodes ARGS="--counts 3 5"

Every node has memcached and nothing else, so what is seen is devenv, the Docker Engine and SSH.
docs/benchmarks.md says what each figure means.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import yaml

from benchmarks import measure
from benchmarks.measure import Report
from devenv.services.catalogue import catalogue
from devenv.topology.models import VERSION

COUNTS = (3, 5, 10, 20)
#: Of a node. An engine and memcached take about 60 MiB; the rest is room for the page cache.
MEMORY = "256MiB"
SERVICE = "memcached"


@dataclass(frozen=True)
class Growth:
    """Some number of nodes. Seconds of wall time, unless said otherwise.

    :param ratio: of `up` to that of the first number of nodes.
    :param up_a_node: `up` divided by the number of nodes.
    :param own_cpu: CPU seconds of devenv itself during `up`.
    :param own_of_wall: the same as a share of the wall time.
    :param own_of_all: and of all CPU that the machine used meanwhile.
    :param second: `up` again, with nothing to change.
    :param second_own_cpu: CPU seconds of devenv itself meanwhile.
    """

    nodes: int
    up: float
    ratio: float
    up_a_node: float
    own_cpu: float
    own_cpu_a_node: float
    own_of_wall: float
    own_of_all: float
    second: float
    second_own_cpu: float
    down: float


def topology(count: int, memory: str) -> str:
    """YAML of `count` control nodes that have memcached only."""
    others = [name for name, one in catalogue().items() if not one.optional and name != SERVICE]
    return yaml.safe_dump(
        {
            "version": VERSION,
            "defaults": {"memory": memory, "cpus": 1},
            "nodes": {"node": {"count": count, "roles": ["control"]}},
            "services": {"disable": others},
        },
        sort_keys=False,
    )


def growth(count: int, up: measure.Run, second: measure.Run, down: float, base: float) -> Growth:
    """The row of `count` nodes.

    :param base: seconds of `up` with the first number of nodes.
    """
    return Growth(
        nodes=count,
        up=up.seconds,
        ratio=up.seconds / base,
        up_a_node=up.seconds / count,
        own_cpu=up.cpu,
        own_cpu_a_node=up.cpu / count,
        own_of_wall=up.cpu / up.seconds,
        own_of_all=up.cpu / max(up.busy, up.cpu),
        second=second.seconds,
        second_own_cpu=second.cpu,
        down=down,
    )


def measure_nodes(report: Report, counts: list[int], memory: str) -> None:
    """One environment after the other."""
    base = 0.0
    for count in counts:
        with (
            report.part(f"{count} nodes"),
            tempfile.TemporaryDirectory() as folder,
            measure.environment(f"bench-nodes-{count}") as devenv,
        ):
            path = Path(folder) / "nodes.yaml"
            path.write_text(topology(count, memory))
            devenv("images", "build")
            up, second = devenv("up", "--topology", str(path)), devenv("up")
            down = devenv("down").seconds
            base = base or up.seconds
            report.add("light nodes, seconds", growth(count, up, second, down, base))


def main(arguments: list[str] | None = None) -> int:
    """Run everything in order and print the table."""
    parser = measure.parser(__doc__ or "")
    parser.add_argument("--counts", type=int, nargs="+", default=list(COUNTS), metavar="N")
    parser.add_argument("--memory", default=MEMORY, help=f"of a node  [default: {MEMORY}]")
    options = parser.parse_args(arguments)

    def all_parts(report: Report) -> None:
        measure_nodes(report, options.counts, options.memory)

    return measure.run("nodes", options.output, all_parts)


if __name__ == "__main__":
    sys.exit(main())
