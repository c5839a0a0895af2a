"""How long `up` and its kin take, and what the result weighs: one run, one table.

    make bench                      # cached, second, changed service, down
    make bench ARGS=--cold          # also from nothing: removes the image cache first

Figures of one run compare with each other; machines differ and are noisy, so quote ratios.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tarfile
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

NAME = "bench"
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


@dataclass(frozen=True)
class Run:
    """A run of the command: wall seconds, and what it printed as JSON."""

    seconds: float
    data: dict


def devenv(*arguments: str) -> Run:
    """Run ``devenv --name bench ARGUMENTS --output json``."""
    begin = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "devenv", "--name", NAME, *arguments, "--output", "json"],
        stdout=subprocess.PIPE,
        check=True,
    )
    return Run(time.monotonic() - begin, json.loads(done.stdout or "null"))


def keystone_checkout(folder: Path) -> Path:
    """An unpacked sdist of the keystone that the lock names."""
    lock = Path(__file__).parent.parent / "devenv/images/openstack-base/requirements.lock"
    pin = next(
        line.split()[0] for line in lock.read_text().splitlines() if line.startswith("keystone==")
    )
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
    ]
    subprocess.run([*command, "--no-binary", ":all:", "--dest", str(folder), pin], check=True)
    archive = next(folder.glob("keystone-*.tar.gz"))
    with tarfile.open(archive) as unpacked:
        unpacked.extractall(folder, filter="data")
    return next(path for path in folder.iterdir() if path.is_dir())


def weigh(node: str) -> dict[str, float]:
    """MiB by kind of process on `node`."""
    done = subprocess.run(
        [sys.executable, "-m", "devenv", "--name", NAME, "ssh", node, "--", "sh", "-c", PSS],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return {kind: int(kib) / 1024 for kind, kib in map(str.split, done.stdout.splitlines())}


def help_seconds() -> float:
    """The median of five runs of ``devenv --help``."""
    times = []
    for _ in range(5):
        begin = time.monotonic()
        subprocess.run([sys.executable, "-m", "devenv", "--help"], capture_output=True, check=True)
        times.append(time.monotonic() - begin)
    return sorted(times)[2]


def images_gib() -> float:
    """Disk of all images in the store, each layer once."""
    done = subprocess.run(
        [sys.executable, "-m", "devenv", "images", "list", "--output", "json"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return json.loads(done.stdout)[0]["disk"] / 2**30


def main() -> None:
    """Run everything in order and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cold", action="store_true", help="remove the image cache first")
    options = parser.parse_args()
    rows: list[tuple[str, str]] = []
    subprocess.run([sys.executable, "-m", "devenv", "--name", NAME, "down"], check=True)
    with tempfile.TemporaryDirectory() as folder:
        checkout = keystone_checkout(Path(folder))
        if options.cold:
            subprocess.run([sys.executable, "-m", "devenv", "gc", "--cache"], check=True)
            rows.append(
                ("cold up (nothing built) to a guest that answers", f"{devenv('up').seconds:.1f} s")
            )
            devenv("down")
        cached = devenv("up")
        timeline = cached.data["timeline"]
        rows.append(("cached up to a guest that answers", f"{cached.seconds:.1f} s"))
        rows.append(
            (
                "  deploy: wall / critical path",
                f"{timeline['wall']:.1f} s / {timeline['critical_seconds']:.1f} s = "
                f"{timeline['wall'] / timeline['critical_seconds']:.2f}",
            )
        )
        by_id = {step["id"]: step for step in timeline["steps"]}
        path = [(id, by_id[id]["end"] - by_id[id]["start"]) for id in timeline["critical_path"]]
        rows += [(f"    {id}", f"{seconds:.1f} s") for id, seconds in path]
        rows.append(("second up, nothing to change", f"{devenv('up').seconds:.1f} s"))
        changed = devenv("up", "--source", f"keystone={checkout}")
        rows.append(("up --source keystone=CHECKOUT", f"{changed.seconds:.1f} s"))
        rows.append(("  changed", ", ".join(changed.data["changed"])))
        node = cached.data["nodes"][0]["name"]
        weights = weigh(node)
        rows += [(f"PSS of {kind}", f"{mib:.0f} MiB") for kind, mib in sorted(weights.items())]
        rows.append(("disk of all images", f"{images_gib():.2f} GiB"))
        rows.append(("down", f"{devenv('down').seconds:.1f} s"))
    rows.append(("devenv --help, median of 5", f"{help_seconds() * 1000:.0f} ms"))
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"{name:<{width}}  {value}")


if __name__ == "__main__":
    main()
