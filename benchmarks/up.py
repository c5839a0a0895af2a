"""How long `up` and its kin take on one node, and what the result weighs.

    make bench                      # cached, second, changed service, down
    make bench ARGS=--cold          # also from nothing: removes the image cache first

docs/benchmarks.md says what each figure means. Figures of one run compare with each other;
machines differ and are noisy, so quote ratios.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

from benchmarks import measure
from benchmarks.measure import Devenv, Report
from devenv.report.results import Figure

NAME = "bench"


def keystone_checkout(folder: Path) -> Path:
    """An unpacked sdist of the keystone that the lock names."""
    lock = Path(__file__).parent.parent / "devenv/images/openstack-base/requirements.lock"
    pin = next(
        line.split()[0] for line in lock.read_text().splitlines() if line.startswith("keystone==")
    )
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    subprocess.run([*command, "--no-binary", ":all:", "--dest", str(folder), pin], check=True)
    archive = next(folder.glob("keystone-*.tar.gz"))
    with tarfile.open(archive) as unpacked:
        unpacked.extractall(folder, filter="data")
    return next(path for path in folder.iterdir() if path.is_dir())


def help_seconds() -> float:
    """The median of five runs of ``devenv --help``."""
    times = []
    for _ in range(5):
        begin = time.monotonic()
        subprocess.run([sys.executable, "-m", "devenv", "--help"], capture_output=True, check=True)
        times.append(time.monotonic() - begin)
    return sorted(times)[2]


def main(arguments: list[str] | None = None) -> int:
    """Run everything in order and print the tables."""
    parser = measure.parser(__doc__ or "")
    parser.add_argument("--cold", action="store_true", help="remove the image cache first")
    options = parser.parse_args(arguments)

    def all_parts(report: Report) -> None:
        with tempfile.TemporaryDirectory() as folder, measure.environment(NAME) as devenv:
            checkout = keystone_checkout(Path(folder))
            measure_up(report, devenv, checkout, cold=options.cold)
        report.figures(Figure("devenv --help, median of 5", help_seconds() * 1000, "ms"))

    return measure.run("all in one", options.output, all_parts)


def measure_up(report: Report, devenv: Devenv, checkout: Path, *, cold: bool) -> None:
    """The life of one environment, from up to down."""
    if cold:
        devenv("gc", "--cache")
        seconds = devenv("up").seconds
        report.figures(Figure("cold up (nothing built) to a guest that answers", seconds, "s"))
        devenv("down")
    store = devenv("images", "build").data
    cached = devenv("up")
    report.figures(*cached.figures("cached up to a guest that answers"))
    report.figures(*measure.deploy_figures(cached.data["timeline"]))
    report.add("critical path", *measure.critical_path(cached.data["timeline"]))
    report.figures(Figure("second up, nothing to change", devenv("up").seconds, "s"))
    changed = devenv("up", "--source", f"keystone={checkout}")
    report.figures(
        Figure("up --source keystone=CHECKOUT", changed.seconds, "s"),
        Figure(f"  changed: {', '.join(changed.data['changed'])}", len(changed.data["changed"])),
    )
    report.add("PSS, MiB", *measure.weigh(devenv, [cached.data["nodes"][0]["name"]]))
    report.figures(Figure("disk of all images", store["disk"] / 2**30, "GiB"))
    report.figures(Figure("down", devenv("down").seconds, "s"))


if __name__ == "__main__":
    sys.exit(main())
