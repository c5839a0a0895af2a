"""kolla_start: from the engine's start of a container to the service's process."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys

import pytest
from kolla_container import BASE, CONFIG_FILES, LAUNCHER, Container

#: As sudo does with -E: runs the command with this environment.
SUDO = '#!/bin/sh\n[ "$1" = -E ] || exit 9\nshift\necho "sudo $*" >> "$SUDO_LOG"\nexec "$@"\n'


@pytest.fixture(autouse=True)
def _programs(container: Container) -> None:
    launcher = shlex.join(
        [
            sys.executable,
            "-IS",
            "-c",
            LAUNCHER,
            str(BASE / "kolla_set_configs"),
            str(container.root),
        ]
    )
    container.write("/bin/sudo", SUDO, 0o755)
    container.write("/bin/kolla_set_configs", f'#!/bin/sh\nexec {launcher} "$@"\n', 0o755)


def environment_of(container: Container, **more: str) -> dict[str, str]:
    """What the engine gives to a container's process."""
    return {
        "PATH": f"{container.path('/bin')}:{os.environ['PATH']}",
        "KOLLA_ROOT": str(container.root),
        "KOLLA_CONFIG_STRATEGY": "COPY_ALWAYS",
        "SUDO_LOG": str(container.path("/sudo.log")),
        **more,
    }


def start(container: Container, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run kolla_start as the engine does."""
    return subprocess.run(
        [BASE / "kolla_start"],
        env=environment_of(container, **environment),
        cwd=container.root,
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )


def started(container: Container, **environment: str) -> list[str]:
    """Run kolla_start, which must succeed; the lines that the service wrote."""
    done = start(container, **environment)
    assert done.returncode == 0, done.stderr
    return [line for line in done.stdout.splitlines() if not line.startswith("Running command")]


def extend(container: Container, text: str) -> None:
    """Give the image a kolla_extend_start; like upstream's it is not executable."""
    container.write("/usr/local/bin/kolla_extend_start", text)


def test_it_configures_through_sudo_and_becomes_the_command(container: Container) -> None:
    source = container.source("a.conf", "text")
    container.configure(
        {"source": source, "dest": "/etc/a.conf"}, command="""sh -c 'echo pid $$; cat etc/a.conf'"""
    )
    with subprocess.Popen(
        [BASE / "kolla_start"],
        env=environment_of(container),
        cwd=container.root,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        lines = process.stdout.read().splitlines()
    # The service has kolla_start's own process: the engine's signals reach it.
    assert lines[-2:] == [f"pid {process.pid}", "text"]
    assert container.path("/sudo.log").read_text() == "sudo kolla_set_configs\n"


def test_the_commands_exit_code_is_the_containers(container: Container) -> None:
    container.configure(command="sh -c 'exit 7'")
    assert start(container).returncode == 7


def test_a_config_that_is_refused_starts_nothing(container: Container) -> None:
    container.configure(
        {"source": f"{CONFIG_FILES}/none", "dest": "/etc/none"}, command="echo started"
    )
    container.write("/run_command", "echo of an earlier start")
    done = start(container)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "is missing and not optional" in done.stderr


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("a  b\tc", ["a", "b", "c"]),
        ("a\nb", ["a", "b"]),
        ("$HOME `id` $(id) a;b a|b >c #d", ["$HOME", "`id`", "$(id)", "a;b", "a|b", ">c", "#d"]),
        (r"\d \n", [r"\d", r"\n"]),
        ("*.txt no*.such", ["1.txt", "2.txt", "no*.such"]),
        ("'a b' \"c $d\" ''", ["a b", "c $d", ""]),
        ("'$(id)' \"a \\\" b\" '*.txt'", ["$(id)", 'a " b', "*.txt"]),
        ("'a\nb' c", ["a\nb", "c"]),
    ],
)
def test_the_command_is_split_as_upstream_does_and_quotes_are_honoured(
    container: Container, command: str, arguments: list[str]
) -> None:
    container.write("1.txt", "")
    container.write("2.txt", "")
    container.write("/bin/show", '#!/bin/sh\nprintf "<%s>\\n" "$@"\n', 0o755)
    container.configure(command=f"show {command}")
    done = start(container)
    assert done.returncode == 0, done.stderr
    shown = done.stdout.split(f"Running command: 'show {command}'\n", 1)[1]
    assert shown == "".join(f"<{argument}>\n" for argument in arguments)


def test_a_quote_that_is_not_closed_is_refused(container: Container) -> None:
    container.configure(command="echo 'a")
    done = start(container)
    assert done.returncode == 1
    assert "a quote is not closed in the command: echo 'a" in done.stderr


class TestExtendStart:
    """The image's own preparation."""

    def test_it_is_sourced_after_the_configuration_and_before_the_command(
        self, container: Container
    ) -> None:
        source = container.source("a.conf", "text")
        container.configure({"source": source, "dest": "/etc/a.conf"}, command="printenv EXPORTED")
        extend(container, "export EXPORTED=$(cat etc/a.conf)\n")
        assert started(container) == ["text"]

    def test_it_may_change_the_command_and_its_arguments(self, container: Container) -> None:
        container.configure(command="echo one")
        extend(container, 'CMD="$CMD two"\nARGS="three four"\n')
        assert started(container) == ["one two three four"]

    @pytest.mark.parametrize("value", ["", "1"])
    def test_under_bootstrap_it_does_its_job_and_the_command_never_runs(
        self, container: Container, value: str
    ) -> None:
        container.configure(command="echo service")
        # The form in which upstream's files ask; it must work under nounset.
        extend(container, 'if [[ "${!KOLLA_BOOTSTRAP[@]}" ]]; then echo bootstrap; exit 0; fi\n')
        assert started(container, KOLLA_BOOTSTRAP=value) == ["bootstrap"]
        assert started(container) == ["service"]

    def test_under_upgrade_it_does_its_job_and_the_command_never_runs(
        self, container: Container
    ) -> None:
        container.configure(command="echo service")
        extend(container, 'if [[ "${!KOLLA_UPGRADE[@]}" ]]; then echo upgrade; exit 0; fi\n')
        assert started(container, KOLLA_UPGRADE="") == ["upgrade"]

    @pytest.mark.parametrize("failing", ["false", "false | true", "echo $UNSET"])
    def test_its_failure_is_the_containers(self, container: Container, failing: str) -> None:
        container.configure(command="echo service")
        extend(container, f"{failing}\n")
        done = start(container)
        assert done.returncode != 0
        assert "service" not in done.stdout

    def test_it_is_left_out_on_request_and_when_there_is_none(self, container: Container) -> None:
        container.configure(command="echo service")
        assert started(container) == ["service"]
        extend(container, "echo extended\n")
        assert started(container) == ["extended", "service"]
        assert started(container, KOLLA_SKIP_EXTEND_START="") == ["service"]
