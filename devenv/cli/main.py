"""The ``devenv`` command: its subcommands, its errors and its exit codes."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any

import click

import devenv
from devenv.cli.options import Settings, common
from devenv.core.errors import EXIT_ERROR, DevenvError

#: Each command and where it is, in the order of the help.
COMMANDS = {
    "up": "lifecycle:up",
    "status": "look:status",
    "list": "look:list_environments",
    "test": "scenarios:test",
    "down": "lifecycle:down",
    "ssh": "reach:ssh",
    "exec": "reach:exec_command",
    "logs": "reach:logs",
    "service": "service:service",
    "fault": "fault:fault",
    "report": "report:report",
    "snapshot": "snapshot:snapshot",
    "images": "images:images",
    "export": "export:export",
    "doctor": "machine:doctor",
    "gc": "machine:gc",
}
#: What a shell says of a process that SIGINT ended: 128 and the signal's number.
EXIT_INTERRUPTED = 130


class Root(click.Group):
    """The command itself: commands are imported when they are needed, errors become words."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order in which they are used."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported now."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(import_module(f"devenv.cli.{module}"), attribute)
        return command

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run, and end the process with the right exit code."""
        settings = Settings()
        try:
            code = super().main(*args, **{**kwargs, "standalone_mode": False, "obj": settings})
        except click.ClickException as error:
            error.show()
            code = error.exit_code
        except click.Abort:
            leave(EXIT_INTERRUPTED)
            return
        except DevenvError as error:
            _say(settings, error, f"error: {error}")
            code = error.exit_code
        except Exception as error:
            what = f"{type(error).__name__}: {error}".strip(": ").partition("\n")[0]
            hint = "" if settings.debug else "; run with --debug to see where"
            _say(settings, error, f"unexpected: {what}{hint}")
            code = EXIT_ERROR
        sys.exit(code if isinstance(code, int) else 0)


def _say(settings: Settings, error: Exception, text: str) -> None:
    lines = [text, *(f"note: {note}" for note in getattr(error, "__notes__", []))]
    if settings.debug:
        import traceback

        lines.insert(0, "".join(traceback.format_exception(error)))
    click.echo(settings.redact("\n".join(lines)), err=True)


def leave(code: int) -> None:
    """End now. Steps may be running in threads that an ordinary exit would wait for."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


@click.group(
    cls=Root,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""\b
Every option has an environment variable: DEVENV_NAME for --name.
Shell completion: eval "$(_DEVENV_COMPLETE=bash_source devenv)"  (or zsh_source, fish_source)""",
)
@click.version_option(devenv.__version__, "--version", message="%(prog)s %(version)s")
@common(output=True)
def cli() -> None:
    """A containerised OpenStack on nodes of your choice, to change, to break and to judge.

    \b
    Start with:
      devenv doctor --fix     what this machine lacks; installs it
      devenv up               a whole cloud on this machine, and a guest that answers
      devenv test             break it, and see what survived
      devenv down             remove all of it
    """


def main() -> None:
    """The ``devenv`` command."""
    cli()
