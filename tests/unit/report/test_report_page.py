"""The page: everything is there, nothing is fetched, no text becomes markup."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import get_args

import pytest
import sample
from hypothesis import given, settings
from hypothesis import strategies as st

from devenv.report import facts, page, results, timeline
from devenv.report.results import Check, Evidence, Figure, Outcome, Result, Run, Series, Verdict

EVIL = "<script>alert(1)</script> \"'&\x1b[31m\x00"
VOID = {"meta", "br", "img", "link", "input", "hr"}


class Document(HTMLParser):
    """The page as a browser sees it: elements in order with their text; unclosed ones fail."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str], list[str]]] = []
        self._open: list[tuple[str, list[str]]] = []
        self.feed(source)
        self.close()
        assert self._open == [], "elements that are not closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        words: list[str] = []
        self.elements.append((tag, {name: value or "" for name, value in attrs}, words))
        if tag not in VOID:
            self._open.append((tag, words))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}, []))

    def handle_endtag(self, tag: str) -> None:
        opened, _ = self._open.pop()
        assert opened == tag, f"</{tag}> closes <{opened}>"
        if tag in ("td", "th"):
            self.handle_data(" ")

    def handle_data(self, data: str) -> None:
        for _, words in self._open:
            words.append(data)

    def texts(self, tag: str, class_: str = "") -> list[str]:
        """The text of each element, spaces as one."""
        return [
            " ".join("".join(words).split())
            for name, attributes, words in self.elements
            if name == tag and (not class_ or class_ in attributes.get("class", "").split())
        ]


def deploy(tmp_path: Path) -> timeline.Deploy:
    found = timeline.last_up(sample.write_journal(tmp_path / "journal.jsonl"))
    assert found is not None
    return found


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    return page.render(sample.run(), deploy(tmp_path_factory.mktemp("journal")))


@pytest.fixture(scope="module")
def document(source: str) -> Document:
    return Document(source)


def tiles(document: Document) -> dict[str, str]:
    """The figures at the top."""
    names = [name for name, _, _ in document.elements]
    begin = next(i for i, (_, a, _) in enumerate(document.elements) if a.get("class") == "tiles")
    found = {}
    for index in range(begin, names.index("main")):
        if names[index] == "dt":
            words = [" ".join("".join(one[2]).split()) for one in document.elements[index:][:2]]
            found[words[0]] = words[1]
    return found


def test_the_verdict_is_on_top(document: Document) -> None:
    assert document.texts("h1") == ["12 passed, 1 failed, 1 unknown, 1 skipped"]
    lead = document.texts("p", "lead")[0]
    for words in ("15 tests of 9 scenarios on ha", "release 2026.1", "topology multinode",
                  "2026-03-01 14:04 UTC", "1 test ran again"):  # fmt: skip
        assert words in lead


def test_what_the_faults_cost_is_on_top(document: Document) -> None:
    found = tiles(document)
    run = sample.run()
    evidence = [one.evidence for one in run.results if one.evidence]
    rows = sum(
        point.outcome == "ok"
        for one in evidence
        for series in one.series
        if series.client in ("rows write", "messages publish")
        for point in series.points
    )
    longest = max(b - a for one in evidence for series in one.series for a, b in series.gaps)
    assert found["Nodes"] == "5"
    assert found["Faults"] == "16"
    assert found["Longest gap"] == f"{longest:.1f} s"
    assert found["Acknowledged writes lost"] == f"0 of {rows:,}"
    assert found["Gaps within budget"] == "69 of 72"


def test_the_longest_gap_is_that_of_a_client_with_a_budget() -> None:
    rows, boots = Series("rows", (), ((1, 3),), 3.0), Series("boots boot", (), ((1, 21),))
    both, alone = Evidence(series=(rows, boots)), Evidence(series=(boots,))
    found = [
        tiles(Document(page.render(Run("e", [Result("t.py::t", evidence=one)]))))["Longest gap"]
        for one in (both, alone)
    ]
    assert found == ["2.00 s", "20.0 s"]


@pytest.mark.parametrize(
    ("checks", "said"),
    [
        ({"pass"}, "0"),
        ({"pass", "unknown"}, "unknown"),
        ({"pass", "fail", "unknown"}, "lost in 1 check"),
        (set(), "not checked"),
    ],
)
def test_nothing_is_said_to_be_safe_that_is_not_known(checks: set[Verdict], said: str) -> None:
    evidence = Evidence(checks=tuple(Check("lost rows", one, "words") for one in sorted(checks)))
    document = Document(page.render(Run("e", [Result("t.py::t", evidence=evidence)])))
    assert tiles(document)["Acknowledged writes lost"] == said


def test_every_test_is_in_the_table_and_every_link_leads_somewhere(document: Document) -> None:
    table = document.texts("table", "tests")[0]
    for result in sample.run().results:
        assert result.title in table and result.scenario in table
    ids = {attributes["id"] for _, attributes, _ in document.elements if "id" in attributes}
    links = [a["href"] for name, a, _ in document.elements if name in ("a", "use") and "href" in a]
    assert links and {link.removeprefix("#") for link in links} <= ids
    assert len(document.texts("article")) == 12, "the others are told in the table"


def test_each_fault_has_a_strip_for_each_client(document: Document) -> None:
    figures = [one for one in document.elements if one[1].get("class") == "figure"]
    assert len(figures) == 12
    clients = [a["data-client"] for _, a, _ in document.elements if "data-client" in a]
    assert clients == list(sample.CLIENTS) * 12
    faults = [t for t in document.texts("div", "label") if t.startswith(("kill", "power", "part"))]
    assert "kill haproxy on ctl2" in faults and faults.count("power off ctl2") == 2


def test_checks_are_told_in_their_words_worst_first(document: Document) -> None:
    lists = document.texts("ul", "checks")
    assert lists[0].startswith("longest gap of rows write")
    assert "none of" in lists[0] and "acknowledged rows is missing on ctl1, ctl2, ctl3" in lists[0]
    unknown = [one for one in lists if one.startswith("stale reads")]
    assert len(unknown) == 1, "before those that passed"


def test_a_failure_has_its_detail_and_logs(document: Document) -> None:
    told = document.texts("pre")
    assert any("AssertionError: fail: longest gap of rows write" in one for one in told)
    assert "[WARNING] Server galera/ctl1 is DOWN <not synced>" in told
    (failed,) = [one for one in document.texts("article") if "What pytest tells" in one]
    assert failed.startswith("primary [pause]")
    folded = [a for name, a, _ in document.elements
              if name == "details" and a.get("class") == "inner log"]  # fmt: skip
    assert len(folded) == 4 and not any("open" in one for one in folded)


def test_the_deploy_is_a_chart(document: Document, tmp_path: Path) -> None:
    steps = [a for _, a, _ in document.elements if a.get("class", "").startswith("step type-")]
    drawn = [one for one in steps if {"done", "failed"} & set(one["class"].split())]
    assert len(drawn) == 200
    assert any("critical" in one["class"] for one in drawn)
    lead = document.texts("section")[2]
    assert "200 steps on 5 nodes" in lead and "The critical path has" in lead
    plain = deploy(tmp_path)
    plain = replace(plain, steps=tuple(replace(step, critical=False) for step in plain.steps))
    again = Document(page.render(Run("e"), plain))
    assert "critical" not in again.texts("section")[-1], "nobody told which it was"


def test_what_ran_where(document: Document) -> None:
    nodes, containers, jobs = document.texts("table")[1:]
    assert "ctl3 control, network 172.30.0.13 172.31.0.13/24 18 of 19 running" in nodes
    assert "devenv/nova-api 2026.1-4c1f0a9e" in containers
    assert "Exited (137)" in containers and "keystone_db_sync" in jobs


def test_nothing_is_fetched(source: str, document: Document) -> None:
    for name, attributes, _ in document.elements:
        assert name not in ("link", "img", "iframe", "object", "embed", "base", "form")
        for attribute in ("src", "href", "xlink:href", "action", "data", "srcset", "poster"):
            assert attributes.get(attribute, "#").startswith("#"), (name, attributes)
        assert not [one for one in attributes if one.startswith("on") or one == "style"]
    style = document.texts("style")[0]
    assert "url(" not in style and "@import" not in style and "@font-face" not in style
    assert "http:" not in source and "https:" not in source


def test_the_policy_lets_only_our_style_and_script_through(source: str, document: Document) -> None:
    (policy,) = [a["content"] for _, a, _ in document.elements
                 if a.get("http-equiv") == "Content-Security-Policy"]  # fmt: skip
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    for tag, rule in (("style", "style-src"), ("script", "script-src")):
        (content,) = re.findall(f"<{tag}>(.*?)</{tag}>", source, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"


def test_text_never_becomes_markup() -> None:
    everything = Result(
        f"t_{EVIL}.py::test_{EVIL}", "failed", 1, EVIL, EVIL, [Figure(EVIL, 1, EVIL)],
        Evidence(
            (results.Window(EVIL, 1, 2, 3),),
            (results.Series(EVIL, (results.Point(1, 1, "ok"), results.Point(2, 1, "failed"))),),
            (Check(EVIL, "fail", EVIL),),
        ),
        {EVIL: EVIL},
    )  # fmt: skip
    node = {"name": EVIL, "roles": [EVIL], "address": EVIL, "external": EVIL, "containers": [
        {"name": EVIL, "service": EVIL, "image": EVIL, "state": EVIL, "status": EVIL}]}  # fmt: skip
    known = {"release": EVIL, "nodes": [node]}
    steps = (timeline.Ran(EVIL, EVIL, EVIL, EVIL, 0, 1, "failed", EVIL),)
    source = page.render(Run(EVIL, [everything], known), timeline.Deploy(1, 1, steps))
    document = Document(source)
    assert len(document.texts("script")) == 1 and "alert" not in document.texts("script")[0]
    assert source.count("<script") == 1
    assert "\x00" not in source and "\x1b" not in source
    assert any("<script>alert(1)</script> \"'&\ufffd" in one for one in document.texts("pre"))


@settings(max_examples=25, deadline=None)
@given(st.text(max_size=30), st.text(max_size=30), st.sampled_from(get_args(Outcome)))
def test_any_text_leaves_the_page_whole(name: str, said: str, outcome: Outcome) -> None:
    result = Result(name, outcome, 1, said, said, [Figure(name, 1)], logs={name: said})
    source = page.render(Run(name, [result], {"vip": said}))
    source.encode()
    Document(source)


def test_an_empty_run_is_a_page() -> None:
    document = Document(page.render(Run("e")))
    assert document.texts("h1") == ["no scenario ran"]


def test_a_run_without_evidence_has_no_column_of_gaps() -> None:
    document = Document(page.render(Run("e", [Result("test_a.py::test_b", seconds=2)])))
    assert document.texts("th") == ["Verdict", "Test", "Took", "a"]


# -- what is known about nodes ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("image", "name", "tag"),
    [
        ("devenv/nova-api:2026.1", "devenv/nova-api", "2026.1"),
        ("registry:5000/kolla/nova-api", "registry:5000/kolla/nova-api", ""),
        ("registry:5000/nova:1@sha256:0123456789abcdef", "registry:5000/nova",
         "1 sha256:0123456789ab"),
        ("", "", ""),
    ],
)  # fmt: skip
def test_references_are_split(image: str, name: str, tag: str) -> None:
    assert facts.split(image) == (name, tag)


def test_a_container_in_two_versions_has_two_rows() -> None:
    nodes = [
        {"name": node, "containers": [{"name": "api", "service": "nova", "image": f"nova:{tag}",
                                       "state": "running", "status": "Up"}]}
        for node, tag in (("a", "1"), ("b", "2"))
    ]  # fmt: skip
    found = facts.parse({"nodes": nodes}).containers
    assert [(row.tag, [cell is not None for cell in row.cells]) for row in found] == [
        ("1", [True, False]), ("2", [False, True]),
    ]  # fmt: skip


# -- publishing ------------------------------------------------------------------------------


def test_publishing_merges_and_writes_both(tmp_path: Path) -> None:
    journal = sample.write_journal(tmp_path / "journal.jsonl")
    first = Run("", [Result("t.py::a"), Result("t.py::b", "failed")], {"vip": "10.0.0.1"}, 100.0)
    page.publish("lab", first, journal, tmp_path)
    path = page.publish("lab", Run("", [Result("t.py::b")]), journal, tmp_path)
    assert path == tmp_path / "report.html"
    run = results.read(tmp_path / "results.json")
    assert [(one.test, one.outcome, one.attempts) for one in run.results] == [
        ("t.py::a", "passed", 1), ("t.py::b", "passed", 2),
    ]  # fmt: skip
    assert (run.environment, run.began) == ("lab", 100.0)
    document = Document(path.read_text("utf-8"))
    assert document.texts("h1") == ["2 passed"]
    assert "attempt 2" in document.texts("span", "again")


def test_publishing_over_a_torn_file_begins_anew(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text('{"environment"')
    page.publish("lab", Run("", [Result("t.py::a", seconds=5)]), tmp_path / "none", tmp_path)
    run = results.read(tmp_path / "results.json")
    assert [one.test for one in run.results] == ["t.py::a"]
    assert run.began > 0, "it is noted when it ran"
