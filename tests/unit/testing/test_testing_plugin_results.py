"""What the plugin writes: verdicts, facts, and no secret."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from devenv.core import paths
from devenv.core.errors import NodeError
from devenv.core.redact import Redactor
from devenv.core.secrets import Secrets
from devenv.deploy.status import Status
from devenv.nodes.node import ExternalLink, Node, SshTarget
from devenv.providers import discover
from devenv.providers.base import Inventory
from devenv.report import results
from devenv.report.results import Run
from devenv.services.catalogue import catalogue
from devenv.services.render import Place, Renderer
from devenv.testing import run
from devenv.testing.secrets import derive_all
from devenv.topology.load import load

MASTER = "the master of the lab"
#: Writes a scenario and runs it: the exit code and what was kept.
Play = Callable[[str], tuple[int, Run]]


def place(count: int) -> Inventory:
    """An environment of `count` nodes with all roles."""
    roles = frozenset({"control", "network", "compute"})
    nodes = tuple(
        Node(f"n{i}", roles, f"172.30.0.{i}", ExternalLink("eth1", f"172.31.0.{i}/24"),
             SshTarget(f"172.30.0.{i}", Path("/k"), Path("/h")))
        for i in range(1, count + 1)
    )  # fmt: skip
    return Inventory(
        "lab", "aio", nodes, IPv4Network("172.30.0.0/24"), IPv4Network("172.31.0.0/24"),
        IPv4Address("172.30.0.10"), IPv4Address("172.31.0.1"),
    )  # fmt: skip


class FakeEnvironment:
    """Knows the secrets of ``lab``, and one node."""

    def __init__(self, name: str, provider: str, events: object, redact: Redactor) -> None:
        self.redact = redact

    def secrets(self) -> Secrets:
        return Secrets(MASTER, self.redact)

    def status(self) -> Status:
        return Status(place(1), {}, release="2026.1")


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Play:
    """Plays one scenario against ``lab``."""
    folder = tmp_path / "scenarios"
    folder.mkdir()
    monkeypatch.setenv("DEVENV_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setattr(run, "folder", lambda: folder)
    monkeypatch.setattr(discover, "find", lambda name: SimpleNamespace(provider="local"))
    monkeypatch.setattr("devenv.environment.Environment", FakeEnvironment)

    def act(text: str) -> tuple[int, Run]:
        (folder / "test_played.py").write_text(text)
        sys.modules.pop("test_played", None)  # pytest keeps scenarios by their names
        code = run.main([], "lab", tmp_path / "r.xml", [], say=lambda text: None)
        return code, results.read(paths.environment("lab") / "results.json")

    return act


# -- secrets ---------------------------------------------------------------------------------

LEAKS = f"""
from devenv.core.redact import Redactor
from devenv.core.secrets import Secrets
from devenv.testing.plugin import _RECORDER

def test_leak(environment, request, measure):
    print("printed", environment.secrets().password("rabbitmq"))
    nobody_asked = Secrets({MASTER!r}, Redactor()).password("nova_database")
    request.config.stash[_RECORDER].result(request.node.nodeid).logs["n1/nova"] = nobody_asked
    measure("rows " + environment.secrets().password("metadata"), 1)
    assert False, "refused: " + environment.secrets().password("database_root")
"""


def test_no_secret_is_in_anything_that_is_left(
    play: Play, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    code, kept = play(LEAKS)
    assert code == 1
    (result,) = kept.results
    assert result.reason.startswith("refused: ***")
    assert "refused: ***" in result.detail
    assert result.logs == {"n1/nova": "***"}
    told = capfd.readouterr().out.partition("FAILURES")[2].partition("= figures")[0]
    assert "refused: ***" in told and "printed ***" in told
    state = paths.environment("lab")
    written = [state / "results.json", state / "report.html", tmp_path / "r.xml",
               tmp_path / "r.json"]  # fmt: skip
    everything = {path.name: path.read_text() for path in written} | {"terminal": told}
    secrets = Secrets(MASTER, Redactor())
    hidden = [secrets.password(name) for name in
              ("rabbitmq", "nova_database", "metadata", "database_root")]  # fmt: skip
    for name, text in everything.items():
        assert [secret for secret in [*hidden, MASTER] if secret in text] == [], name


class Handed(Redactor):
    """Remembers what it was told to hide."""

    def __init__(self) -> None:
        self.secrets: set[str] = set()
        super().__init__()

    def add(self, secrets: Any) -> None:
        self.secrets |= set(secrets)
        super().add(secrets)


@pytest.mark.parametrize("count", [1, 3])
def test_every_secret_of_every_service_is_known(count: int) -> None:
    """As those are that rendering all of the catalogue derives."""
    used, known, inventory = Handed(), Handed(), place(count)
    services = list(catalogue().values())
    images = {spec.image: ("i", "h") for one in services for spec in one.containers.values()}
    external = {"cidr": "172.31.0.0/24", "gateway": "172.31.0.1", "start": "172.31.0.100",
                "end": "172.31.0.250"}  # fmt: skip
    where = Place(inventory.nodes, str(inventory.vip), external, "ssh-ed25519 AAAA")
    renderer = Renderer(load("aio").topology, services, where, Secrets(MASTER, used), images)
    for service in services:
        for name in service.containers:
            renderer.render(service, name, inventory.nodes[0])
    derive_all(Secrets(MASTER, known))
    assert len(used.secrets) > 10
    assert used.secrets - known.secrets == set()


def test_files_that_python_leaves_in_a_service_are_no_part_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An installed devenv has compiled the templates that are programs."""
    left = tmp_path / "templates/__pycache__/seed.cpython-311.pyc"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"\xa7\r\r\n")
    (tmp_path / "templates/a.conf").write_text('{{ password("only_here") }}')
    one = next(iter(catalogue().values()))
    moved = one.model_copy(update={"folder": tmp_path})
    monkeypatch.setattr("devenv.testing.secrets.catalogue", lambda: {one.name: moved})
    known = Handed()
    derive_all(Secrets(MASTER, known))
    assert Secrets(MASTER, Handed()).password("only_here") in known.secrets


# -- what ran where --------------------------------------------------------------------------


def test_facts_are_those_of_status(play: Play) -> None:
    _, kept = play("def test_a(): pass\n")
    assert kept.facts == Status(place(1), {}, release="2026.1").data()
    assert kept.facts["release"] == "2026.1"
    assert kept.began > 1e9


def test_a_broken_environment_loses_no_result(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    play("def test_a(): pass\n")

    def fail(self: FakeEnvironment) -> None:
        raise NodeError("it does not answer", node="n1")

    for name in ("status", "secrets"):
        monkeypatch.setattr(FakeEnvironment, name, fail)
    code, kept = play("def test_a(environment): assert 0\n")
    assert code == 1
    assert [one.outcome for one in kept.results] == ["failed"]
    assert kept.facts["release"] == "2026.1", "those of before"


# -- verdicts --------------------------------------------------------------------------------

FIXTURE = "import pytest\n@pytest.fixture\ndef f():\n    {}\n    yield\n    {}\n"
EVIDENCE = """
from devenv.report.results import Check, Evidence
from devenv.testing.plugin import _RECORDER
def test_a(request):
    result = request.config.stash[_RECORDER].result(request.node.nodeid)
    result.evidence = Evidence(checks=(Check("lost rows", "unknown", "nobody knows"),))
"""


@pytest.mark.parametrize(
    ("text", "outcome", "reason"),
    [
        ("def test_a(): raise ValueError\n", "failed", "ValueError"),
        ("def test_a(): raise ValueError('no\\nmore')\n", "failed", "no\nmore"),
        ("def test_a(): assert 0, 'unknown: lost rows: who knows'\n", "unknown", "unknown: lost"),
        ("def test_a(): raise ValueError('unknown: it')\n", "failed", "unknown: it"),
        (
            "from devenv.faults.fault import Inconclusive\n"
            "def test_a(): raise Inconclusive('haproxy still runs')\n",
            "unknown",
            "haproxy still runs",
        ),
        (FIXTURE.format("assert 0, 'early'", "") + "def test_a(f): pass\n", "error", "early"),
        (FIXTURE.format("", "assert 0, 'late'") + "def test_a(f): pass\n", "error", "late"),
        (
            FIXTURE.format("", "assert 0, 'late'") + "def test_a(f): assert 0, 'first'\n",
            "failed",
            "first",
        ),
        (
            FIXTURE.format("", "assert 0, 'late'") + "def test_a(f): pytest.skip('why')\n",
            "error",
            "late",
        ),
        (
            "import pytest\n@pytest.mark.xfail(strict=True)\ndef test_a(): pass\n",
            "failed",
            "[XPASS(strict)]",
        ),
    ],
)
def test_outcomes(text: str, outcome: str, reason: str, play: Play) -> None:
    code, kept = play(text)
    (result,) = kept.results
    assert (code, result.outcome) == (1, outcome)
    assert result.reason.startswith(reason)
    assert reason.partition("\n")[0] in result.detail


def test_a_pass_without_proof_is_no_pass(play: Play) -> None:
    code, kept = play(EVIDENCE)
    assert code == 1, "pytest says passed"
    assert [one.verdict for one in kept.results] == ["unknown"]


def test_a_test_that_was_interrupted_proves_nothing(play: Play) -> None:
    code, kept = play(
        "def test_a(): pass\n"
        "def test_b(measure):\n    measure('x', 1)\n    raise KeyboardInterrupt\n"
        "def test_c(): pass\n"
    )
    assert code == 2
    assert [(one.name, one.outcome, one.reason) for one in kept.results] == [
        ("test_a", "passed", ""),
        ("test_b", "unknown", "it was interrupted"),
    ]


def test_sigterm_closes_fixtures_and_writes(play: Play, tmp_path: Path) -> None:
    code, kept = play(
        "import os, pathlib, pytest, signal\n"
        f"HEALED = pathlib.Path({str(tmp_path / 'healed')!r})\n"
        "@pytest.fixture(scope='session')\ndef f():\n    yield\n    HEALED.touch()\n"
        "def test_a(): pass\n"
        "def test_b(f, measure):\n    measure('x', 1)\n    os.kill(os.getpid(), signal.SIGTERM)\n"
        "def test_c(): HEALED.rmdir()\n"
    )
    assert code == 143
    assert (tmp_path / "healed").exists()
    assert [(one.name, one.outcome) for one in kept.results] == [
        ("test_a", "passed"), ("test_b", "unknown"),
    ]  # fmt: skip
    assert not list(paths.environment("lab").glob("*.part.json"))


def test_a_killed_run_leaves_what_ended(play: Play) -> None:
    pid = os.fork()
    if not pid:
        play("import os\ndef test_a(): assert 0\ndef test_b(): os.kill(os.getpid(), 9)\n")
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 9
    _, kept = play("def test_c(): pass\n")
    assert [(one.name, one.outcome) for one in kept.results] == [
        ("test_a", "failed"),
        ("test_c", "passed"),
    ]
    assert not list(paths.environment("lab").glob("*.part.json"))
