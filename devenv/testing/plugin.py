"""The pytest plugin of scenarios: an environment, its nodes, cloud, containers and guests.

Loaded by every pytest run where devenv is installed, so it imports nothing and does nothing
before a scenario asks for one of its fixtures.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from devenv.environment import Environment
    from devenv.faults.verbs import Faults
    from devenv.nodes.connection import Connection
    from devenv.providers.base import Inventory
    from devenv.report.results import Evidence, Result
    from devenv.testing.containers import Containers
    from devenv.testing.guest import Guests
    from devenv.testing.trial import Trial

#: ``measure(name, value, unit)`` and ``phase(name)``.
Measure = Callable[[str, float, str], None]
Phase = Callable[[str], AbstractContextManager[None]]


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("devenv", "scenarios against a devenv environment")
    group.addoption(
        "--devenv",
        metavar="NAME",
        help="the environment that scenarios run against  [default: $DEVENV_NAME, else default]",
    )
    group.addoption(
        "--devenv-results",
        metavar="FILE",
        type=Path,
        help="write verdicts and figures there as JSON",
    )


class Recorder:
    """Keeps what scenarios measured and tells it as it comes."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self.results: dict[str, Result] = {}

    def result(self, test: str) -> Result:
        """The result of a test, empty at first."""
        from devenv.report.results import Result

        return self.results.setdefault(test, Result(test))

    def say(self, text: str) -> None:
        """A line of progress, past pytest's capturing."""
        terminal = self._config.pluginmanager.get_plugin("terminalreporter")
        capture = self._config.pluginmanager.get_plugin("capturemanager")
        if terminal is None or capture is None:
            return
        with capture.global_and_fixture_disabled():
            terminal.ensure_newline()
            terminal.write_line(f"    {text}")


_RECORDER = pytest.StashKey[Recorder]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_RECORDER] = Recorder(config)


def environment_name(config: pytest.Config) -> str:
    """Which environment this run is about."""
    return config.getoption("--devenv") or os.environ.get("DEVENV_NAME") or "default"


# -- what is measured ----------------------------------------------------------------------


@pytest.fixture
def measure(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]
            ) -> Measure:  # fmt: skip
    """``measure(name, value, unit)``: a figure for the summary, JUnit and the results file."""
    from devenv.report.results import Figure

    recorder = request.config.stash[_RECORDER]
    result = recorder.result(request.node.nodeid)

    def record(name: str, value: float, unit: str = "") -> None:
        figure = Figure(name, value, unit)
        result.figures.append(figure)
        record_property(f"{name} [{unit}]" if unit else name, round(value, 3))
        recorder.say(str(figure))

    return record


@pytest.fixture(scope="session")
def phase(request: pytest.FixtureRequest) -> Phase:
    """``with phase("stop nova_libvirt"):`` a line of progress with the time that it took."""
    recorder = request.config.stash[_RECORDER]

    @contextmanager
    def timed(name: str) -> Iterator[None]:
        begin = time.monotonic()
        try:
            yield
        except BaseException:
            recorder.say(f"{name}: failed after {time.monotonic() - begin:.1f} s")
            raise
        recorder.say(f"{name}: {time.monotonic() - begin:.1f} s")

    return timed


# -- the environment -----------------------------------------------------------------------


@pytest.fixture(scope="session")
def environment(request: pytest.FixtureRequest) -> Environment:
    """The environment. Its `up` and `status` may be called while a scenario runs."""
    from devenv.core.events import Events
    from devenv.core.redact import Redactor
    from devenv.environment import Environment
    from devenv.providers import discover

    name, redact = environment_name(request.config), Redactor()
    return Environment(name, discover.find(name).provider, Events(redact=redact), redact)


@pytest.fixture(scope="session")
def inventory(environment: Environment) -> Inventory:
    """The environment's nodes and networks."""
    return environment.inventory()


@pytest.fixture(scope="session")
def connections(
    environment: Environment, inventory: Inventory
) -> Iterator[Mapping[str, Connection]]:
    """Connections to all nodes by name: commands, files, the Docker Engine."""
    from devenv.core import paths
    from devenv.nodes.connection import connected

    # A folder of their own: those that `environment` opens in this process have the same names.
    sockets = paths.sockets(environment.name) / "test"
    sockets.mkdir(mode=0o700, exist_ok=True)
    with connected(inventory.nodes, sockets) as opened:
        yield opened


@pytest.fixture(scope="session")
def nodes(
    environment: Environment,
    connections: Mapping[str, Connection],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Any]:
    """The nodes as testinfra hosts by name, over the SSH masters of `connections`."""
    import testinfra

    from devenv.testing.hosts import host_names, ssh_config

    path = tmp_path_factory.mktemp("ssh") / "config"
    path.write_text(ssh_config(environment.name, connections))
    names = host_names(environment.name, connections)
    return {
        # controlpersist=0: testinfra makes no master of its own, the file names ours.
        node: testinfra.get_host(f"ssh://{name}", ssh_config=str(path), controlpersist=0)
        for node, name in names.items()
    }


@pytest.fixture(scope="session")
def containers(
    environment: Environment, inventory: Inventory, connections: Mapping[str, Connection]
) -> Containers:
    """The containers: inspect, stop, start, kill, restart, replace, by name and node."""
    from devenv.testing.containers import Containers

    return Containers(inventory, connections, environment.events)


@pytest.fixture(scope="session")
def faults(
    environment: Environment, inventory: Inventory, connections: Mapping[str, Connection]
) -> Iterator[Faults]:
    """``with faults.kill("haproxy", on="vip-holder"):`` seen to hold, healed on every way out."""
    from devenv.faults.verbs import Faults

    provider, events = environment.provider, environment.events
    made = Faults(environment.name, provider, inventory, connections, events)
    yield made
    made.close()


@pytest.fixture
def trial(
    request: pytest.FixtureRequest,
    environment: Environment,
    inventory: Inventory,
    connections: Mapping[str, Connection],
    containers: Containers,
    cloud: Any,
    measure: Measure,
    phase: Phase,
) -> Trial:
    """``trial(faults.kill(...), budget=Budget(api=3))``: clients, a fault, and a verdict."""
    from devenv.testing.trial import Trial

    if len(inventory.with_role("control")) < 3:
        pytest.skip("surviving a fault takes three control nodes: up --topology multinode")
    result = request.config.stash[_RECORDER].result(request.node.nodeid)

    def keep(evidence: Evidence, logs: Mapping[str, str]) -> None:
        result.evidence, result.logs = evidence, dict(logs)

    guest = environment.status().guest
    address = guest.address if guest and guest.answers else None
    return Trial(
        environment, inventory, connections, containers, cloud, address, measure, phase, keep
    )


@pytest.fixture(scope="session")
def cloud(environment: Environment, inventory: Inventory) -> Iterator[Any]:
    """The cloud as its administrator: an openstack.connection.Connection."""
    import openstack

    entry: dict[str, Any] = environment.cloud(inventory).entry()
    opened = openstack.connect(load_yaml_config=False, load_envvars=False, api_timeout=60, **entry)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def guest(cloud: Any, connections: Mapping[str, Connection]) -> Iterator[Guests]:
    """``guest()`` boots a server that answers; all are removed after the module."""
    from devenv.testing.guest import Guests

    guests = Guests(cloud, connections)
    yield guests
    guests.close()


# -- verdicts ------------------------------------------------------------------------------


def _unsupported_is_skipped(item: pytest.Item) -> Generator[None]:
    try:
        return (yield)
    except Exception as error:
        from devenv.core.errors import Unsupported

        if isinstance(error, Unsupported):
            pytest.skip(str(error))
        raise


#: A provider that cannot do what a test needs, in a fixture or in the test, makes it skipped.
pytest_runtest_setup = pytest.hookimpl(wrapper=True)(_unsupported_is_skipped)
pytest_runtest_call = pytest.hookimpl(wrapper=True)(_unsupported_is_skipped)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if item.config.getoption("--devenv-results"):
        result = item.config.stash[_RECORDER].result(item.nodeid)
        result.seconds += report.duration
        if report.failed:
            result.outcome = "failed" if report.when == "call" else "error"
            result.reason = str(call.excinfo.value) if call.excinfo else ""
        elif report.skipped:
            result.outcome = "skipped"
            result.reason = str(call.excinfo.value) if call.excinfo else ""
    return report


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    measured = [result for result in config.stash[_RECORDER].results.values() if result.figures]
    if not measured:
        return
    terminalreporter.section("figures")
    for result in measured:
        terminalreporter.write_line(result.test)
        for figure in result.figures:
            terminalreporter.write_line(f"    {figure}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    path = session.config.getoption("--devenv-results")
    if path:
        from devenv.report import results as figures

        recorder = session.config.stash[_RECORDER]
        run = figures.Run(environment_name(session.config), list(recorder.results.values()))
        figures.write(path, run)
