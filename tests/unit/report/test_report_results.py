"""Results are kept, read again, and merged when tests run again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import pytest
import sample
from hypothesis import given
from hypothesis import strategies as st

from devenv.core.errors import InputError
from devenv.report import results
from devenv.report.results import BAD, Check, Evidence, Figure, Outcome, Result, Run, Series, merge

CHECKS = {word: Check(word, word, "words") for word in ("pass", "fail", "unknown")}
_OUTCOMES = st.sampled_from(get_args(Outcome))
_RUNS = st.dictionaries(st.sampled_from("abcdef"), _OUTCOMES).map(
    lambda found: Run("e", [Result(test, outcome) for test, outcome in found.items()])
)


def by_test(run: Run) -> dict[str, Result]:
    return {result.test: result for result in run.results}


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "new" / "results.json"
    run = sample.run()
    results.write(path, run)
    assert results.read(path) == run
    assert [one.name for one in path.parent.iterdir()] == ["results.json"], "no partial file"


def test_every_text_is_redacted_and_nothing_else_changes(tmp_path: Path) -> None:
    run = sample.run()
    results.write(tmp_path / "plain.json", run)
    results.write(tmp_path / "redacted.json", run, lambda text: text.replace("kill", "***"))
    plain = (tmp_path / "plain.json").read_text()
    assert "kill" in plain
    assert (tmp_path / "redacted.json").read_text() == plain.replace("kill", "***")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"environment": "e", "results": [{"outco', "cannot be used"),
        ("[]", "cannot be used"),
        ('{"environment": "e", "results": [{"test": "t", "outcome": "so-so"}]}', "results.0.outco"),
    ],
)
def test_what_is_no_result_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises(InputError, match=said):
        results.read(path)


def test_no_results_yet(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no results") as caught:
        results.read(tmp_path / "results.json")
    assert caught.value.remedy == "devenv test"


def test_an_older_file_without_newer_fields_is_read(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text(json.dumps({"environment": "e", "results": [{"test": "t"}]}))
    assert results.read(path) == Run("e", [Result("t")])


@pytest.mark.parametrize(
    ("outcome", "checks", "verdict"),
    [
        ("passed", ["pass", "pass"], "passed"),
        ("passed", ["pass", "unknown"], "unknown"),
        ("passed", ["unknown", "fail"], "failed"),
        ("passed", [], "unknown"),
        ("failed", ["pass"], "failed"),
        ("failed", [], "failed"),
        ("failed", ["pass", "unknown"], "unknown"),
        ("failed", ["unknown", "fail"], "failed"),
        ("error", ["pass", "unknown"], "error"),
        ("skipped", [], "skipped"),
    ],
)
def test_a_verdict_is_no_better_than_its_evidence(
    outcome: Outcome, checks: list[str], verdict: str
) -> None:
    evidence = Evidence(checks=tuple(CHECKS[word] for word in checks))
    assert Result("t", outcome, evidence=evidence).verdict == verdict


def test_without_evidence_the_outcome_is_the_verdict() -> None:
    assert {one: Result("t", one).verdict for one in get_args(Outcome)} == {
        one: one for one in get_args(Outcome)
    }


@pytest.mark.parametrize(
    ("test", "scenario", "title"),
    [
        ("failover/test_vip_holder.py::test_is_killed[ctl1]", "failover/vip-holder",
         "is killed [ctl1]"),
        ("test_nova_boot.py::TestBoot::test_boot", "nova-boot", "boot"),
        ("test_x.py::test_a[b::c]", "x", "a [b::c]"),
    ],
)  # fmt: skip
def test_names_are_those_of_the_command_line(test: str, scenario: str, title: str) -> None:
    assert (Result(test).scenario, Result(test).title) == (scenario, title)


@pytest.mark.parametrize(
    ("figure", "said"),
    [
        (Figure("up", 17.306, "s"), "up: 17.31 s"),
        (Figure("p50", 0.00634, "s"), "p50: 0.0063 s"),
        (Figure("lost", 0), "lost: 0"),
        (Figure("lost", 0.0), "lost: 0.00"),
    ],
)
def test_figures_in_words(figure: Figure, said: str) -> None:
    assert str(figure) == said


def test_the_longest_gap_of_a_series() -> None:
    assert Series("c", (), ((0, 1), (5, 8), (9, 10))).longest == (5, 8)
    assert Series("c", ()).longest is None


# -- running again ---------------------------------------------------------------------------


def test_a_rerun_replaces_what_failed_in_its_place() -> None:
    old = Run("e", [Result("a"), Result("b", "failed"), Result("c", "unknown")], {"vip": 1}, 100.0)
    new = Run("e", [Result("c"), Result("b", "failed"), Result("d")], began=200.0)
    merged = merge(old, new)
    assert [(one.test, one.outcome, one.attempts) for one in merged.results] == [
        ("a", "passed", 1), ("b", "failed", 2), ("c", "passed", 2), ("d", "passed", 1),
    ]  # fmt: skip
    assert (merged.facts, merged.began) == ({"vip": 1}, 100.0)
    assert old.results[1].attempts == 1, "the old run is left alone"


def test_attempts_begin_anew_after_a_pass() -> None:
    failed, passed = Run("e", [Result("a", "failed")]), Run("e", [Result("a")])
    twice = merge(merge(failed, failed), passed)
    assert twice.results[0].attempts == 3
    assert merge(twice, passed).results[0].attempts == 1


def test_a_run_of_everything_has_its_own_time_and_facts() -> None:
    old = Run("e", [Result("a"), Result("b")], {"release": "old"}, 100.0)
    merged = merge(old, Run("e", [Result("b"), Result("a")], {"release": "new"}, 200.0))
    assert (merged.began, merged.facts) == (200.0, {"release": "new"})
    assert [one.test for one in merged.results] == ["a", "b"]


def test_the_tests_of_a_file_replace_that_it_could_not_be_collected() -> None:
    old = Run("e", [Result("a.py", "error"), Result("b.py", "error"), Result("c.py::t")])
    merged = merge(old, Run("e", [Result("a.py::t"), Result("c.py", "error")]))
    assert [one.test for one in merged.results] == ["b.py", "c.py::t", "a.py::t", "c.py"]


@given(_RUNS, _RUNS)
def test_merging_loses_nothing_and_prefers_what_is_new(old: Run, new: Run) -> None:
    merged = merge(old, new)
    assert by_test(merged).keys() == by_test(old).keys() | by_test(new).keys()
    assert len(merged.results) == len(by_test(merged))
    order = [one.test for one in merged.results]
    assert order[: len(old.results)] == [one.test for one in old.results]
    for test, result in by_test(merged).items():
        newest = by_test(new).get(test) or by_test(old)[test]
        assert result.outcome == newest.outcome
        before = by_test(old).get(test)
        again = test in by_test(new) and before is not None and before.verdict in BAD
        assert result.attempts == (2 if again else 1)


@given(_RUNS)
def test_merging_with_nothing_changes_nothing(run: Run) -> None:
    assert merge(run, Run("e")) == run == merge(Run("e"), run)
