"""What the benchmarks make of what they read: parsers, medians, tables, partial results."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks import ha, measure, nodes
from benchmarks.measure import Devenv, Report, Run
from devenv.core import paths
from devenv.core.errors import DevenvError
from devenv.report import results
from devenv.report.results import Check, Evidence, Figure, Result
from devenv.services.catalogue import enabled
from devenv.topology.load import load

VIP = "failover/test_loadbalancer.py::test_haproxy_is_killed"
NODE = "failover/test_node.py::test_a_controller_is_switched_off"


def result(test: str, outcome: results.Outcome, **gaps: float) -> Result:
    figures = [Figure(f"longest gap of {client}", gap, "s") for client, gap in gaps.items()]
    return Result(test, outcome, figures=[*figures, Figure("boots", 3)])


# -- parsers ---------------------------------------------------------------------------


def test_a_node_is_weighed_in_mib_by_kind():
    assert measure.weight("ctl1", "services 2048\nengine 1536\n") == measure.Weight(
        "ctl1", services=2, engine=2, guests=0, all=4
    )


def test_all_nodes_are_weighed_together(monkeypatch):
    told = {"ctl1": "services 1024\nengine 2048", "cmp1": "services 1024\nguests 4096"}
    devenv = Devenv("lab")
    monkeypatch.setattr(devenv, "ssh", lambda node, script: told[node])
    *_, last = measure.weigh(devenv, list(told))
    assert last == measure.Weight("all", services=2, engine=2, guests=4, all=8)


def test_cores_that_a_node_used_are_by_its_own_clock():
    assert measure.cores_used("100.50\n4000000000\n", "110.50\n9000000000\n") == 0.5


def test_what_was_idle_waiting_or_stolen_is_not_busy():
    # user nice system idle iowait irq softirq steal guest guest_nice (proc_stat(5))
    stat = "cpu  1000 20 300 90000 5000 4 6 700 400 0\ncpu0 9 9 9 9 9 9 9 9 9 9\n"
    assert measure.busy_seconds(stat, ticks=100) == 13.3


def test_the_critical_path_has_the_seconds_of_its_steps_only():
    steps = [
        {"id": "ctl1/mariadb", "start": 1.0, "end": 3.5},
        {"id": "ctl1/memcached", "start": 0.0, "end": 9.0},
        {"id": "ctl1/keystone", "start": 3.5, "end": 4.0},
    ]
    path = measure.critical_path(
        {"steps": steps, "critical_path": ["ctl1/mariadb", "ctl1/keystone"]}
    )
    assert [(one.step, one.seconds) for one in path] == [
        ("ctl1/mariadb", 2.5),
        ("ctl1/keystone", 0.5),
    ]


def test_own_cpu_is_a_share_of_wall_and_of_all_cpu():
    figures = Run(0, seconds=20.0, cpu=5.0, busy=25.0, data=None).figures("up")
    assert [figure.value for figure in figures] == [20.0, 5.0, 0.25, 0.2]


# -- faults ----------------------------------------------------------------------------

RUNS = [
    [result(VIP, "passed", rows=1.0, ping=0.2), result(NODE, "passed", rows=4.0)],
    [result(VIP, "failed", rows=9.0, ping=0.1), result(NODE, "skipped")],
    [result(VIP, "passed", rows=2.0)],
]


def test_gaps_are_by_fault_and_client_whatever_the_verdict():
    assert ha.gaps(RUNS) == [
        ha.Gap("failover/loadbalancer", "haproxy is killed", "rows", 3, median=2.0, worst=9.0),
        ha.Gap(
            "failover/loadbalancer", "haproxy is killed", "ping", 2,
            median=pytest.approx(0.15), worst=0.2,
        ),
        ha.Gap("failover/node", "a controller is switched off", "rows", 1, median=4.0, worst=4.0),
    ]  # fmt: skip


def test_what_was_skipped_is_no_run():
    assert [(one.fault, one.passed, one.of) for one in ha.verdicts(RUNS)] == [
        ("haproxy is killed", 2, 3),
        ("a controller is switched off", 1, 1),
    ]
    assert ha.attempt(2, 60.0, RUNS[1]) == ha.Attempt(2, 60.0, 0, 1, "haproxy is killed: failed")


def test_a_test_that_passed_on_evidence_that_proves_nothing_did_not_pass():
    doubt = Evidence(checks=(Check("rows", "unknown", "no attempt"),))
    found = ha.attempt(1, 60.0, [Result(VIP, "passed", evidence=doubt)])
    assert (found.passed, found.of, found.bad) == (0, 1, "haproxy is killed: unknown")


class Faults:
    """Stands for the command: `test` writes what `runs` say, None nothing; errors it raises."""

    def __init__(self, runs: Sequence[Sequence[Result] | type[BaseException] | None]) -> None:
        self._runs = iter(runs)
        self.ups = 0

    def test(self, *names: str) -> SimpleNamespace:
        found = next(self._runs)
        if isinstance(found, type):
            raise found
        if found is not None:
            path = paths.environment(ha.NAME) / "results.json"
            old = results.read(path) if path.exists() else results.Run(ha.NAME)
            results.write(path, results.merge(old, results.Run(ha.NAME, list(found))))
        return SimpleNamespace(seconds=60.0)

    def __call__(self, *arguments: str) -> None:
        assert arguments == ("up",)
        self.ups += 1


@pytest.fixture
def faults(tmp_path, monkeypatch):
    monkeypatch.setenv("DEVENV_HOME", str(tmp_path / "home"))

    def measured(
        *runs: Sequence[Result] | type[BaseException] | None,
        keep: Path | None = None,
        report: Report | None = None,
    ) -> tuple[Report, Faults]:
        report, devenv = report or Report("ha"), Faults(runs)
        ha.measure_faults(report, devenv, ["failover/node"], len(runs), keep)  # type: ignore[arg-type]
        return report, devenv

    return measured


def test_a_run_that_wrote_nothing_does_not_count_the_one_before_twice(faults):
    good = [result(NODE, "passed", rows=4.0)]
    report, devenv = faults(good, None, good)
    assert [row.run for row in report.tables["runs"]] == [1, 3]
    assert list(report.errors) == ["failover, run 2 of 3"]
    (gap,) = report.tables["longest gap without success, seconds"]
    assert gap.runs == 2
    assert devenv.ups == 1


def test_what_ran_before_ctrl_c_is_in_the_tables(faults):
    report = Report("ha")
    with pytest.raises(KeyboardInterrupt):
        faults([result(NODE, "passed", rows=4.0)], KeyboardInterrupt, report=report)
    (gap,) = report.tables["longest gap without success, seconds"]
    assert (gap.runs, gap.worst) == (1, 4.0)


def test_a_run_has_only_what_ran_in_it(faults):
    both = [result(VIP, "passed", rows=1.0), result(NODE, "passed", rows=4.0)]
    report, _ = faults(both, [result(NODE, "passed", rows=5.0)])
    assert [row.of for row in report.tables["runs"]] == [2, 1]
    assert [gap.runs for gap in report.tables["longest gap without success, seconds"]] == [1, 2]


def test_after_a_run_that_did_not_pass_the_cloud_is_put_right(faults):
    report, devenv = faults([result(NODE, "failed", rows=40.0)], [result(NODE, "passed", rows=4.0)])
    assert devenv.ups == 1
    assert report.tables["figures"] == [Figure("failover runs that passed, of 2", 1)]


def test_a_run_in_which_nothing_ran_did_not_pass(faults):
    report, _ = faults([result(NODE, "skipped")])
    assert report.tables["figures"] == [Figure("failover runs that passed, of 1", 0)]


def test_the_results_of_each_run_are_kept(faults, tmp_path):
    faults([result(NODE, "passed", rows=4.0)], [result(NODE, "passed", rows=6.0)], keep=tmp_path)
    kept = [results.read(tmp_path / f"failover-{number}.json") for number in (1, 2)]
    assert [run.results[0].figures[0].value for run in kept] == [4.0, 6.0]


# -- nodes -----------------------------------------------------------------------------


def test_light_nodes_have_memcached_and_nothing_else(tmp_path):
    path = tmp_path / "nodes.yaml"
    path.write_text(nodes.topology(20, "256MiB"))
    loaded = load(str(path))
    assert [service.name for service in enabled(loaded)] == ["memcached"]
    specs = loaded.topology.control_specs()
    assert (len(specs), {spec.memory for spec in specs}) == (20, {256 * 2**20})


def test_growth_is_against_the_first_number_of_nodes():
    up = Run(0, seconds=30.0, cpu=3.0, busy=40.0, data=None)
    second = Run(0, seconds=2.0, cpu=1.0, busy=3.0, data=None)
    row = nodes.growth(10, up, second, down=8.0, base=12.0)
    assert (row.ratio, row.up_a_node, row.own_cpu_a_node) == (2.5, 3.0, 0.3)
    assert (row.own_of_wall, row.own_of_all) == (0.1, 0.075)
    assert (row.second, row.second_own_cpu, row.down) == (2.0, 1.0, 8.0)


# -- the report ------------------------------------------------------------------------


@pytest.fixture
def report() -> Report:
    report = Report("highly available", {"cores": "2"})
    report.figures(Figure("up", 149.987, "s"))
    report.add("PSS, MiB", measure.Weight("ctl1", 1788, 196, 0, 1984))
    return report


def test_the_tables_are_for_people(report, capsys):
    with report.part("wiped node"):
        raise DevenvError("`devenv up` ended with 2")
    report.show(as_json=False)
    assert capsys.readouterr().out.splitlines() == [
        "highly available",
        "cores             2",
        "",
        "figures",
        "up       149.99 s",
        "",
        "PSS, MiB",
        "NODE  SERVICES  ENGINE  GUESTS  ALL",
        "ctl1  1788      196     0       1984",
        "",
        "not measured",
        "wiped node    `devenv up` ended with 2",
    ]


def test_json_has_the_same(report, capsys):
    report.show(as_json=True)
    data = json.loads(capsys.readouterr().out)
    assert data["machine"] == {"cores": "2"}
    assert data["tables"]["figures"] == [{"name": "up", "value": 149.987, "unit": "s"}]
    assert data["tables"]["PSS, MiB"][0]["guests"] == 0
    assert data["errors"] == {}


def test_what_was_measured_before_ctrl_c_is_shown(report, capsys):
    with pytest.raises(KeyboardInterrupt), report.shown(as_json=True), report.part("faults"):
        raise KeyboardInterrupt
    data = json.loads(capsys.readouterr().out)
    assert data["tables"]["figures"][0]["value"] == 149.987
    assert data["errors"] == {"the benchmark": "KeyboardInterrupt"}


def test_a_part_that_failed_is_an_exit_code_and_the_next_part_runs(monkeypatch, capsys):
    monkeypatch.setattr(measure, "machine", dict)

    def parts(report: Report) -> None:
        with report.part("first"):
            raise ValueError("no such thing")
        report.figures(Figure("second", 1))

    assert measure.run("two parts", "json", parts) == 1
    data = json.loads(capsys.readouterr().out)
    assert data["errors"] == {"first": "no such thing"}
    assert data["tables"]["figures"] == [{"name": "second", "value": 1, "unit": ""}]


# -- the command -----------------------------------------------------------------------


def test_a_command_that_fails_is_named(monkeypatch):
    devenv = Devenv("lab")
    monkeypatch.setattr(devenv, "_run", lambda *_: Run(2, 12.3, 1.0, 2.0, ""))
    with pytest.raises(DevenvError, match="`devenv --name lab up --force` ended with 2 after 12 s"):
        devenv("up", "--force")


def test_scenarios_that_fail_are_no_error(monkeypatch):
    devenv = Devenv("lab")
    monkeypatch.setattr(devenv, "_run", lambda *_: Run(1, 60.0, 1.0, 2.0, ""))
    assert devenv.test("failover/node").seconds == 60.0


@pytest.mark.parametrize("end", [KeyboardInterrupt, DevenvError])
def test_an_environment_is_removed_on_every_way_out(monkeypatch, end):
    ran: list[tuple[object, ...]] = []
    monkeypatch.setattr(Devenv, "__call__", lambda self, *words, **_: ran.append(words))
    with pytest.raises(end), measure.environment("lab") as devenv:
        devenv("up")
        raise end("on the way")
    assert ran == [("down",), ("up",), ("down",)]
