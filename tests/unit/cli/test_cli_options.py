"""Options mean the same wherever they stand, and each has an environment variable."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest
from cli_fakes import FakeEnvironment, Run

from devenv.cli.main import cli


def commands(
    group: click.Group = cli, words: str = "devenv"
) -> Iterator[tuple[str, click.Command]]:
    """Every command with the words that call it."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield f"{words} {name}", command
        if isinstance(command, click.Group):
            yield from commands(command, f"{words} {name}")


ALL = dict(commands())
LEAVES = {words: one for words, one in ALL.items() if not isinstance(one, click.Group)}


@pytest.mark.parametrize("words", ALL)
def test_every_command_has_help_with_an_example(words: str, run: Run) -> None:
    for flag in ("-h", "--help"):
        result = run(*words.split()[1:], flag)
        assert result.exit_code == 0
        assert f"Usage: {words}" in result.stdout
    if words in LEAVES:
        assert f"Example{'s' if 'Examples:' in result.stdout else ''}:" in result.stdout
        assert words in result.stdout.split("Example")[1]


def test_the_list_of_commands_has_whole_sentences(run: Run) -> None:
    for words, one in {"devenv": cli, **ALL}.items():
        if isinstance(one, click.Group):
            listed = run(*words.split()[1:], "--help").stdout.split("Commands:")[1]
            assert "..." not in listed


@pytest.mark.parametrize("words", LEAVES)
def test_every_flag_has_its_environment_variable(words: str) -> None:
    flags = {
        declaration: option.envvar
        for option in LEAVES[words].params
        if isinstance(option, click.Option) and option.name != "help"
        for declaration in option.opts
        if declaration.startswith("--")
    }
    wanted = {flag: "DEVENV_" + flag[2:].upper().replace("-", "_") for flag in flags}
    # DEVENV_CACHE is a folder: a flag that read it would be set wherever the folder is chosen.
    wanted |= {"--cache": "DEVENV_GC_CACHE"} if words == "devenv gc" else {}
    assert flags == wanted
    assert {"--name", "--provider", "--debug"} <= flags.keys()


@pytest.mark.parametrize(
    ("words", "variable", "name"),
    [
        ("down", None, "default"),
        ("--name lab down", None, "lab"),
        ("down --name lab", None, "lab"),
        ("--name one down --name two", None, "two"),
        ("down", "env", "env"),
        ("--name lab down", "env", "lab"),
        ("down --name lab", "env", "lab"),
    ],
)
def test_the_name_is_taken_from_both_sides_and_the_environment(
    words: str,
    variable: str | None,
    name: str,
    run: Run,
    fake: type[FakeEnvironment],
) -> None:
    run(*words.split(), "--topology", "aio", env={"DEVENV_NAME": variable})
    assert fake.calls == [("open", name, "local"), ("down",)]


@pytest.mark.parametrize("name", ["Lab", "a_b", "-a", "a-", "", "a.b", "a" * 64, "a\n", "é"])
def test_a_name_that_is_no_host_name_is_refused(name: str, run: Run) -> None:
    for words in (["--name", name, "status"], ["status", "--name", name]):
        result = run(*words)
        assert result.exit_code == 2
        assert "no host name" in result.stderr
        assert result.stdout == ""


def test_the_version(run: Run) -> None:
    import devenv

    assert run("--version").stdout == f"devenv {devenv.__version__}\n"


def test_a_command_that_is_not_there(run: Run) -> None:
    result = run("upp")
    assert result.exit_code == 2
    assert "No such command 'upp'" in result.stderr


def test_the_shell_completes_commands(run: Run) -> None:
    environment = {
        "_DEVENV_COMPLETE": "bash_complete",
        "COMP_WORDS": "devenv sta",
        "COMP_CWORD": "1",
    }
    assert run(env=environment).stdout == "plain,status\n"
