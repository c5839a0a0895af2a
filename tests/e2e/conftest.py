"""Environments for tests that bring up the real thing: each its own name, removed at the end."""

from __future__ import annotations

from collections.abc import Generator, Iterator

import pytest
from environments import Devenv, Environments


@pytest.fixture(scope="session")
def environments(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environments]:
    """Call it for another environment: ``second = environments()``."""
    home = tmp_path_factory.mktemp("devenv")
    Devenv("doctor", home)("doctor", "--fix")
    made = Environments(home)
    yield made
    made.down()


@pytest.fixture(scope="module")
def devenv(environments: Environments) -> Devenv:
    """The command for an environment that the tests of a module share, in the file's order."""
    return environments()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the journal of every environment that a failed test used."""
    report = yield
    if report.failed:
        for value in getattr(item, "funcargs", {}).values():
            if isinstance(value, Devenv) and (journal := value.journal()):
                report.sections.append((f"journal of {value.name}", journal))
    return report
