"""The pytest plugin of scenarios: an environment, its nodes, cloud, containers and guests.

Loaded by every pytest run where devenv is installed, so it imports nothing and does nothing
before a scenario asks for one of its fixtures.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from devenv.testing.recorder import Recorder

if TYPE_CHECKING:
    from devenv.environment import Environment
    from devenv.faults.verbs import Faults
    from devenv.nodes.connection import Connection
    from devenv.providers.base import Inventory
    from devenv.report.results import Evidence
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


_RECORDER = pytest.StashKey[Recorder]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_RECORDER] = Recorder(config)


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
    return request.config.stash[_RECORDER].environment


@pytest.fixture(scope="session")
def inventory(environment: Environment) -> Inventory:
    """The environment's nodes and networks."""
    return environment.inventory()


@pytest.fixture(scope="session")
def connections(
    request: pytest.FixtureRequest, environment: Environment, inventory: Inventory
) -> Iterator[Mapping[str, Connection]]:
    """Connections to all nodes by name: commands, files, the Docker Engine."""
    from devenv.core import paths
    from devenv.nodes.connection import connected
    from devenv.testing.containers import Containers

    # A folder of their own: those that `environment` opens in this process have the same names.
    sockets = paths.sockets(environment.name) / "test"
    sockets.mkdir(mode=0o700, exist_ok=True)
    recorder = request.config.stash[_RECORDER]
    with connected(inventory.nodes, sockets) as opened:
        recorder.containers = Containers(inventory, opened, environment.events)
        yield opened
        recorder.containers = None


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
    address = guest.address if guest else None
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
    recorder = item.config.stash[_RECORDER]
    recorder.hide(report)
    if recorder.wanted:
        recorder.record(report, call.excinfo.value if call.excinfo else None)
        if report.failed and "environment" in getattr(item, "fixturenames", ()):
            recorder.keep_logs(report.nodeid)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """A run that is killed leaves the results of the tests that ended."""
    done = yield
    recorder = item.config.stash[_RECORDER]
    if recorder.wanted:
        recorder.write_ended(item.config.getoption("--devenv-results"))
    return done


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    recorder = collector.config.stash[_RECORDER]
    if report.failed and recorder.wanted:
        result = recorder.result(report.nodeid)
        result.outcome, result.detail = "error", report.longreprtext
        said = report.longreprtext.splitlines()[-1].removeprefix("E").strip()
        result.reason = f"it cannot be collected: {said}"
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


@pytest.hookimpl(trylast=True)  # when fixtures are closed and faults are healed
def pytest_sessionfinish(session: pytest.Session) -> None:
    recorder = session.config.stash[_RECORDER]
    if recorder.wanted:
        recorder.write(session.config.getoption("--devenv-results"))
