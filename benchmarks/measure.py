"""What the benchmarks share: running the command, weighing nodes, and tables as text or JSON."""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from devenv.cli.show import print_table, size
from devenv.core.errors import DevenvError
from devenv.host.engine import connect
from devenv.host.resources import memory_available
from devenv.report.results import Figure

#: Sums PSS (proportional set size) of a node's processes by what they belong to, in KiB.
PSS = r"""
for p in /proc/[0-9]*; do
  kib=$(awk '/^Pss:/ {print $2}' $p/smaps_rollup 2>/dev/null) || continue
  [ -n "$kib" ] || continue
  case "$(cat $p/comm 2>/dev/null)" in
    qemu-system-*) kind=guests ;;
    dockerd|containerd*|sshd*|docker-init|runc) kind=engine ;;
    *) kind=services ;;
  esac
  echo "$kind $kib"
done | awk '{sum[$1] += $2} END {for (kind in sum) print kind, sum[kind]}'
"""
#: A node's clock in seconds, then the CPU nanoseconds of its control group (cgroup v1, else v2).
USAGE = r"""
cut -d ' ' -f 1 /proc/uptime
cat /sys/fs/cgroup/cpuacct/cpuacct.usage 2>/dev/null ||
  sed -n 's/^usage_usec \(.*\)/\1000/p' /sys/fs/cgroup/cpu.stat
"""
#: Seconds in which an interrupted command may tidy up.
GRACE = 15.0


def say(text: str) -> None:
    """Words for people, on stderr."""
    print(text, file=sys.stderr, flush=True)


# -- running the command ---------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """A run of the command.

    :param seconds: wall time.
    :param cpu: CPU seconds (user and system) of devenv and the programs that it waited for. Nodes
        and the Docker Engine are not its children, so they are not in it.
    :param busy: CPU seconds that the whole machine spent meanwhile, others on it included.
    :param data: what it printed: parsed if it was asked for JSON, else text.
    """

    code: int
    seconds: float
    cpu: float
    busy: float
    data: Any

    def figures(self, what: str) -> list[Figure]:
        """Its wall time, and what devenv itself took of it."""
        shares = [
            Figure("  devenv's own CPU over wall", self.cpu / self.seconds),
            Figure("  devenv's own CPU over all CPU used", self.cpu / max(self.busy, self.cpu)),
        ]
        own = Figure("  devenv's own CPU", self.cpu, "s")
        return [Figure(what, self.seconds, "s"), own, *shares]


class Devenv:
    """The command for one environment."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, *arguments: str, session: bool = False) -> Run:
        """Run ``devenv --name NAME ARGUMENTS --output json``.

        :param session: in a session of its own: Ctrl-C ends the benchmark, but not this.
        :raises DevenvError: when it fails; why is on stderr.
        """
        done = self._run([*arguments, "--output", "json"], subprocess.PIPE, session)
        data = json.loads(self._checked(done, arguments) or "null")
        return Run(done.code, done.seconds, done.cpu, done.busy, data)

    def text(self, *arguments: str) -> str:
        """What ``devenv --name NAME ARGUMENTS`` prints.

        :raises DevenvError: when it fails; why is on stderr.
        """
        return self._checked(self._run(arguments, subprocess.PIPE), arguments)

    def test(self, *scenarios: str) -> Run:
        """Run ``devenv --name NAME test``; a scenario that fails is no error here.

        What pytest prints goes to stderr: stdout is the benchmark's.
        """
        return self._run(["test", *scenarios], sys.stderr.fileno())

    def ssh(self, node: str, script: str) -> str:
        """What a shell script prints on a node."""
        return self.text("ssh", node, "--", script)

    def _checked(self, done: Run, arguments: Sequence[str]) -> str:
        if done.code:
            words = " ".join(["devenv", "--name", self.name, *arguments]).partition("\n")[0]
            raise DevenvError(f"`{words}` ended with {done.code} after {done.seconds:.0f} s")
        return str(done.data)

    def _run(self, arguments: Sequence[str], stdout: int, session: bool = False) -> Run:
        command = [sys.executable, "-m", "devenv", "--name", self.name, *arguments]
        before, busy, begin = _children(), machine_busy(), time.monotonic()
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=stdout, text=True, start_new_session=session
        )
        try:
            said, _ = process.communicate()
        except BaseException as reason:
            if not session:
                _end(process, told=isinstance(reason, KeyboardInterrupt))
            raise
        return Run(
            process.returncode,
            time.monotonic() - begin,
            _children() - before,
            machine_busy() - busy,
            said or "",
        )


@contextmanager
def environment(name: str) -> Iterator[Devenv]:
    """The command for an environment that is not there yet, and is removed on every way out."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    devenv = Devenv(name)
    devenv("down")
    try:
        yield devenv
    finally:
        devenv("down", session=True)
        signal.signal(signal.SIGTERM, before)


def _end(process: subprocess.Popen[str], *, told: bool) -> None:
    """Wait for a command that is to end.

    :param told: the terminal's Ctrl-C has reached it, too; a second signal would cut it short.
    """
    if not told:
        process.terminate()
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def machine_busy() -> float:
    """CPU seconds of this machine since it booted that were not idle."""
    return busy_seconds(Path("/proc/stat").read_text(), os.sysconf("SC_CLK_TCK"))


def busy_seconds(stat: str, ticks: int) -> float:
    """The same from the text of /proc/stat (proc_stat(5)).

    Guests are in user's time already; time stolen by a hypervisor was nobody's here.
    """
    user, nice, system, _idle, _iowait, irq, softirq = map(int, stat.split(maxsplit=8)[1:8])
    return (user + nice + system + irq + softirq) / ticks


# -- nodes -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Weight:
    """PSS of a node's processes, MiB."""

    node: str
    services: int
    engine: int
    guests: int
    all: int


def weigh(devenv: Devenv, nodes: Sequence[str]) -> list[Weight]:
    """What each node weighs, and in the last line all of them together."""
    found = [weight(*told) for told in zip(nodes, ask(devenv, nodes, PSS), strict=True)]
    columns = ("services", "engine", "guests", "all")
    return [*found, Weight("all", *(sum(getattr(one, key) for one in found) for key in columns))]


def weight(node: str, text: str) -> Weight:
    """A node's weight from what :data:`PSS` printed there."""
    kib = {kind: int(value) for kind, value in map(str.split, text.splitlines())}
    parts = [round(kib.get(kind, 0) / 1024) for kind in ("services", "engine", "guests")]
    return Weight(node, *parts, sum(parts))


def cpu_share(devenv: Devenv, nodes: Sequence[str], seconds: float) -> float:
    """How much of all cores the nodes take together, 0 to 1, over about `seconds`."""
    before = ask(devenv, nodes, USAGE)
    time.sleep(seconds)
    after = ask(devenv, nodes, USAGE)
    return sum(map(cores_used, before, after)) / (os.cpu_count() or 1)


def cores_used(before: str, after: str) -> float:
    """Cores that a node used between two answers to :data:`USAGE`, by its own clock."""
    (clock, usage), (later_clock, later_usage) = before.split(), after.split()
    return (int(later_usage) - int(usage)) / 1e9 / (float(later_clock) - float(clock))


def ask(devenv: Devenv, nodes: Sequence[str], script: str) -> list[str]:
    """What a shell script prints on each node, all at the same time."""
    with ThreadPoolExecutor(max(1, len(nodes))) as pool:
        return list(pool.map(lambda node: devenv.ssh(node, script), nodes))


# -- the deploy ------------------------------------------------------------------------


@dataclass(frozen=True)
class PathStep:
    """A step of the critical path, and its seconds."""

    step: str
    seconds: float


def critical_path(timeline: dict[str, Any]) -> list[PathStep]:
    """The chain that bound the deploy, from the timeline that ``devenv up`` prints as JSON."""
    took = {step["id"]: step["end"] - step["start"] for step in timeline["steps"]}
    return [PathStep(id, took[id]) for id in timeline["critical_path"]]


def deploy_figures(timeline: dict[str, Any]) -> list[Figure]:
    """The deploy's wall time against its critical path; 1.00: no step waited for a worker."""
    wall, critical = timeline["wall"], timeline["critical_seconds"]
    return [
        Figure("  deploy: wall", wall, "s"),
        Figure("  deploy: critical path", critical, "s"),
        Figure("  deploy: wall over critical path", wall / critical if critical else 1.0),
    ]


# -- the report ------------------------------------------------------------------------


@dataclass
class Report:
    """What was measured so far: tables by title, and what failed.

    Whatever ends the benchmark, :meth:`shown` prints what there is.
    """

    title: str
    machine: dict[str, str] = field(default_factory=dict)
    tables: dict[str, list[Any]] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)

    def add(self, table: str, *rows: Any) -> None:
        """Append `rows`, which are dataclasses of one type, to a table; stderr has them at once."""
        self.tables.setdefault(table, []).extend(rows)
        for row in rows:
            pairs = zip(heads(row), cells(row), strict=True)
            say(str(row) if isinstance(row, Figure) else ", ".join(map(" ".join, pairs)))

    def figures(self, *rows: Figure) -> None:
        """Append to the table of single figures."""
        self.add("figures", *rows)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """A part whose failure is noted, and leaves the other parts alone."""
        say(f"-- {name}")
        try:
            yield
        except Exception as error:
            self.errors[name] = str(error) or type(error).__name__
            say(f"-- {name} failed: {self.errors[name]}")

    @contextmanager
    def shown(self, *, as_json: bool) -> Iterator[None]:
        """Print what there is at the end of the block, also after an error or Ctrl-C."""
        try:
            yield
        except BaseException as error:
            self.errors["the benchmark"] = f"{type(error).__name__}: {error}".removesuffix(": ")
            raise
        finally:
            self.show(as_json=as_json)

    def show(self, *, as_json: bool) -> None:
        """Print everything on stdout."""
        if as_json:
            digits = json.loads(json.dumps(asdict(self)), parse_float=lambda n: round(float(n), 3))
            print(json.dumps(digits, indent=2), flush=True)
            return
        print_table((self.title, ""), list(self.machine.items()))
        for title, rows in self.tables.items():
            print()
            if rows and isinstance(rows[0], Figure):
                print_table((title, ""), [(row.name, row.said) for row in rows])
            elif rows:
                print(title)
                head = [name.upper() for name in heads(rows[0])]
                print_table(head, [cells(row) for row in rows])
        if self.errors:
            print()
            print_table(("not measured", ""), list(self.errors.items()))
        sys.stdout.flush()


def heads(row: Any) -> list[str]:
    """What a dataclass's values are called."""
    return [one.name.replace("_", " ") for one in fields(row)]


def cells(row: Any) -> list[str]:
    """A dataclass's values as text."""
    values = [getattr(row, one.name) for one in fields(row)]
    return [f"{value:.2f}" if isinstance(value, float) else str(value) for value in values]


def machine() -> dict[str, str]:
    """What the figures were measured on."""
    memory = next(
        int(line.split()[1]) * 1024
        for line in Path("/proc/meminfo").read_text().splitlines()
        if line.startswith("MemTotal:")
    )
    engine = connect().info()
    revision = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=Path(__file__).parent, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return {
        "cores": str(os.cpu_count()),
        "memory": f"{size(memory)}, {size(memory_available())} of it available at the start",
        "load": f"{os.getloadavg()[0]:.2f} (1 minute, at the start)",
        "kernel": platform.release(),
        "engine": f"Docker {engine['ServerVersion']}, {engine['Driver']}, "
        f"cgroup v{engine.get('CgroupVersion', '1')}",
        "python": platform.python_version(),
        "revision": revision.stdout.strip() or "unknown",
        "time": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
    }


def parser(doc: str) -> argparse.ArgumentParser:
    """The options that all benchmarks have."""
    made = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--output", choices=["text", "json"], default="text")
    return made


def run(title: str, output: str, measure: Callable[[Report], None]) -> int:
    """Measure, and print; the exit code, which is 1 when a part failed."""
    report = Report(title, machine())
    try:
        with report.shown(as_json=output == "json"):
            measure(report)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except DevenvError as error:
        say(f"error: {error}")
    return 1 if report.errors else 0
