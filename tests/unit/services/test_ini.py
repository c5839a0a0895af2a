"""Options are changed in the text; all else in the file stays as it is."""

from __future__ import annotations

import configparser
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devenv.services.ini import merge

FILE = """\
# The head of the file.
[DEFAULT]
debug = false
# Repeated, as oslo.config's MultiStr wants it.
scheme = a
scheme = b

[database]
connection = mysql://
"""


@pytest.mark.parametrize(
    ("section", "option", "value", "line"),
    [
        ("DEFAULT", "debug", True, "debug = true"),
        ("DEFAULT", "workers", 4, "workers = 4"),
        ("DEFAULT", "ratio", 1.5, "ratio = 1.5"),
        ("database", "connection", "sqlite://", "connection = sqlite://"),
        ("cache", "enabled", False, "enabled = false"),
    ],
)
def test_one_option(section: str, option: str, value: str | int | float | bool, line: str) -> None:
    text = merge(FILE, {section: {option: value}})
    parsed = configparser.ConfigParser(strict=False, interpolation=None, default_section="none")
    parsed.read_string(text)
    assert f"{option} = {parsed[section][option]}" == line
    kept = [old for old in FILE.splitlines() if not old.startswith(f"{option} ")]
    after = iter(text.splitlines())
    assert all(old in after for old in kept), "a line is gone or moved"


def test_a_list_is_a_repeated_option() -> None:
    text = merge(FILE, {"DEFAULT": {"scheme": ["c", "d", 5]}})
    assert "[DEFAULT]\nscheme = c\nscheme = d\nscheme = 5\n" in text
    assert "scheme = a" not in text and "scheme = b" not in text


def test_an_empty_list_takes_the_option_away() -> None:
    assert "scheme" not in merge(FILE, {"DEFAULT": {"scheme": []}}).replace("# Repeated", "")


def test_only_the_named_section_changes() -> None:
    text = merge("[a]\nx = 1\n[b]\nx = 2\n", {"b": {"x": 3}})
    assert text == "[a]\nx = 1\n[b]\nx = 3\n"


def test_an_option_that_starts_like_another_stays() -> None:
    text = merge("log.console = true\nlog.console.level = info\n", {"": {"log.console": False}})
    assert text == "log.console = false\nlog.console.level = info\n"


def test_an_options_name_is_no_pattern() -> None:
    assert "loglevel = 1" in merge("loglevel = 1\n", {"": {"log.evel": 2}})


def test_a_file_without_sections() -> None:
    assert merge("-m = 64\n-c = 5000\n", {"": {"-m": 128}}) == "-m = 128\n-c = 5000\n"


def test_the_top_of_a_file_with_sections() -> None:
    assert merge("x = 1\n[a]\nx = 2\n", {"": {"x": 3}}) == "x = 3\n[a]\nx = 2\n"


def test_a_new_section_goes_to_the_end() -> None:
    assert merge("[a]\nx = 1\n", {"b": {"y": 2}}) == "[a]\nx = 1\n\n[b]\ny = 2\n"


def test_a_value_of_several_lines_is_replaced_as_a_whole() -> None:
    """A line that starts with a space continues the one before (oslo.config, configparser)."""
    text = merge("[a]\nx = 1,\n    2,\n\t3\ny = 4\n", {"a": {"x": 5}})
    assert text == "[a]\nx = 5\ny = 4\n"


WORDS = st.text("abcxyz_-.", min_size=1, max_size=6)
LINES = st.one_of(
    st.builds("{} = {}".format, WORDS, WORDS),
    st.builds("# {}".format, WORDS),
    st.builds("[{}]".format, WORDS),
    st.just(""),
)
TEXTS = st.lists(LINES, max_size=12).map(lambda lines: "".join(f"{line}\n" for line in lines))
VALUES = st.one_of(WORDS, st.integers(), st.booleans(), st.lists(WORDS, max_size=3))
CHANGES = st.dictionaries(
    st.one_of(WORDS, st.just("")), st.dictionaries(WORDS, VALUES, max_size=3), max_size=3
)
Changes = Mapping[str, Mapping[str, str | int | bool | list[str]]]


@given(TEXTS, CHANGES)
def test_twice_is_once(text: str, changes: Changes) -> None:
    once = merge(text, changes)
    assert sorted(merge(once, changes).splitlines()) == sorted(once.splitlines())
    # The order of options settles after the first time: what is set comes first.
    assert merge(merge(once, changes), changes) == merge(once, changes)


@given(TEXTS, WORDS, WORDS, WORDS)
def test_other_lines_stay_in_order(text: str, section: str, option: str, value: str) -> None:
    before = [line for line in text.splitlines() if not line.startswith(f"{option} =")]
    after = merge(text, {section: {option: value}}).splitlines()
    remaining = iter(after)
    assert all(line in remaining for line in before), "a line is gone or moved"
    assert f"{option} = {value}" in after


@given(TEXTS, WORDS, WORDS, st.lists(WORDS, min_size=1, max_size=3))
def test_what_is_set_is_what_is_read(
    text: str, section: str, option: str, values: list[str]
) -> None:
    found: list[str] = []
    inside, seen = False, False
    for line in merge(text, {section: {option: values}}).splitlines():
        if line.startswith("["):
            # Where a file has a section twice, the first is the one that changes.
            inside = line == f"[{section}]" and not seen
            seen = seen or inside
        elif inside and line.startswith(f"{option} ="):
            found.append(line.partition("= ")[2])
    assert found == values
