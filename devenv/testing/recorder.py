"""What became of scenarios, for whoever asks later."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from devenv.environment import Environment
    from devenv.report.results import Result
    from devenv.testing.containers import Containers


def environment_name(config: pytest.Config) -> str:
    """Which environment this run is about."""
    return config.getoption("--devenv") or os.environ.get("DEVENV_NAME") or "default"


class Recorder:
    """Keeps what became of scenarios and what they measured, and tells it as it comes."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._began = time.time()
        self._redact: Callable[[str], str] = str
        self._ended: set[str] = set()
        self.results: dict[str, Result] = {}
        #: While there are connections.
        self.containers: Containers | None = None

    @property
    def wanted(self) -> bool:
        """Whether results are to be written."""
        return self._config.getoption("--devenv-results") is not None

    @cached_property
    def environment(self) -> Environment:
        """The environment; from now on its secrets are hidden in what is told and written."""
        from devenv.core.errors import DevenvError
        from devenv.core.events import Events
        from devenv.core.redact import Redactor
        from devenv.environment import Environment
        from devenv.providers import discover
        from devenv.testing.secrets import derive_all

        name, redact = environment_name(self._config), Redactor()
        provider = discover.find(name).provider
        opened = Environment(name, provider, Events(redact=redact), redact)
        self._redact = redact
        with suppress(DevenvError):  # No node that has them answers: they cannot be used, either.
            derive_all(opened.secrets())
        return opened

    def result(self, test: str) -> Result:
        """The result of a test, empty at first."""
        from devenv.report.results import Result

        return self.results.setdefault(test, Result(test))

    def hide(self, report: pytest.TestReport) -> None:
        """Take secrets out of what pytest prints."""
        report.sections = [(name, self._redact(text)) for name, text in report.sections]
        if report.failed and (told := self._redact(report.longreprtext)) != report.longreprtext:
            report.longrepr = told

    def record(self, report: pytest.TestReport, error: BaseException | None) -> None:
        """Add a phase of a test to its result, which is that of the worst phase."""
        from devenv.report.results import OUTCOMES, Outcome

        result = self.result(report.nodeid)
        result.seconds += report.duration
        if report.when == "teardown":
            self._ended.add(report.nodeid)
        if report.passed:
            return
        outcome: Outcome = "failed" if report.when == "call" else "error"
        if report.skipped:
            outcome = "skipped"
        elif _inconclusive(error):
            outcome = "unknown"
        if report.failed:
            result.detail = f"{result.detail}\n\n{report.longreprtext}".strip("\n")
        worse = OUTCOMES.index(outcome) < OUTCOMES.index(result.outcome)
        if worse or result.outcome == "passed":
            said = report.longreprtext if error is None else str(error)
            result.outcome, result.reason = outcome, said or type(error).__name__

    def keep_logs(self, test: str) -> None:
        """Keep what containers said, for a failure that has no logs yet; quietly if they cannot.

        Whatever is wrong here, the failure itself is what people have to see.
        """
        result = self.result(test)
        if self.containers and not result.logs:
            with suppress(Exception):
                result.logs = self.containers.logs()

    def write_ended(self, path: Path) -> None:
        """Write the results so far, for the case that this process is killed.

        Nothing about the nodes, which takes seconds; a file that cannot be written is for
        :meth:`write` to tell.
        """
        from devenv.report import results

        ended = [one for one in self.results.values()
                 if one.test in self._ended or one.outcome != "passed"]  # fmt: skip
        with suppress(OSError):
            run = results.Run(environment_name(self._config), ended, {}, self._began)
            results.write(path, run, self._redact)

    def write(self, path: Path) -> None:
        """Write all results, with what ran where.

        :raises OSError: if the file cannot be written.
        """
        from devenv.report import results

        facts = self._facts() if self.results else {}
        found = list(self.results.values())
        for result in found:
            if result.test not in self._ended and result.outcome == "passed":
                result.outcome, result.reason = "unknown", "it was interrupted"
        run = results.Run(environment_name(self._config), found, facts, self._began)
        results.write(path, run, self._redact)

    def _facts(self) -> dict[str, Any]:
        try:
            return self.environment.status().data()
        except Exception:  # However broken the environment is: the results are worth more.
            return {}

    def say(self, text: str) -> None:
        """A line of progress, past pytest's capturing."""
        terminal = self._config.pluginmanager.get_plugin("terminalreporter")
        capture = self._config.pluginmanager.get_plugin("capturemanager")
        if terminal is None or capture is None:
            return
        with capture.global_and_fixture_disabled():
            terminal.ensure_newline()
            terminal.write_line(f"    {text}")


def _inconclusive(error: BaseException | None) -> bool:
    """Whether a test failed because nobody can tell, in its own words or a trial's."""
    from devenv.faults.fault import Inconclusive

    doubt = isinstance(error, AssertionError) and str(error).startswith("unknown:")
    return doubt or isinstance(error, Inconclusive)
