"""Options: each has an environment variable, and those of all commands work on both sides.

``devenv --name lab up`` and ``devenv up --name lab`` are the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

import click
from click.core import ParameterSource

from devenv.core.redact import Redactor

F = TypeVar("F", bound=Callable[..., Any])

PROVIDERS = ("local", "vagrant", "heat", "baremetal")
#: A host label as of RFC 1123 section 2.1, in lower case: names of nodes are made from it.
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


@dataclass
class Settings:
    """What the options of all commands say.

    :param redact: knows every secret that this process has seen.
    """

    name: str = "default"
    provider: str | None = None
    debug: bool = False
    output: Literal["text", "json"] = "text"
    redact: Redactor = field(default_factory=Redactor)
    _given: set[str] = field(default_factory=set)

    @property
    def as_json(self) -> bool:
        """Whether data is printed as JSON."""
        return self.output == "json"

    def take(self, name: str, value: object, source: ParameterSource | None) -> None:
        """Keep an option's value: the last on the command line, else the environment's."""
        told = source is ParameterSource.COMMANDLINE
        if told or (source is ParameterSource.ENVIRONMENT and name not in self._given):
            setattr(self, name, value)
            self._given.add(name)


def option(*declarations: str, **attributes: Any) -> Callable[[F], F]:
    """``click.option`` with the environment variable ``DEVENV_<FLAG>``."""
    flag = next(one for one in declarations if one.startswith("--"))
    attributes.setdefault("envvar", "DEVENV_" + flag[2:].upper().replace("-", "_"))
    return click.option(*declarations, **attributes)


def common(*, output: bool = False) -> Callable[[F], F]:
    """The options of all commands; with `output`, that of commands that print data, too."""
    options = [
        option(
            "--name",
            metavar="NAME",
            callback=_name,
            expose_value=False,
            help="The environment; several live side by side.  [default: default]",
        ),
        option(
            "--provider",
            type=click.Choice(PROVIDERS),
            callback=_take,
            expose_value=False,
            help="Where nodes come from; the topology's if not given.",
        ),
        *([_OUTPUT] if output else []),
        option(
            "--debug",
            is_flag=True,
            callback=_take,
            expose_value=False,
            help="Show the traceback of an error.",
        ),
    ]

    def decorate(function: F) -> F:
        for one in reversed(options):
            function = one(function)
        return function

    return decorate


def topology_option(why: str) -> Callable[[F], F]:
    """``--topology PRESET|FILE``."""
    return option("--topology", metavar="PRESET|FILE", help=why)


class SourceType(click.ParamType[tuple[str, Path]]):
    """``SERVICE=PATH``."""

    name = "SERVICE=PATH"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, Path]:
        """Both halves; whether they can be used is for the services to say."""
        if isinstance(value, tuple):
            return value
        service, equals, path = str(value).partition("=")
        if not (service and equals and path):
            self.fail(f"{value!r} should be SERVICE=PATH, such as nova=../nova", param, ctx)
        return service, Path(path)


class WithCommand(click.Command):
    """A command whose last words, after ``--``, are another program's.

    They come as the argument `command`, a list; options before ``--`` are our own.
    """

    def __init__(self, *arguments: Any, rest: str = "COMMAND...", **attributes: Any) -> None:
        super().__init__(*arguments, **attributes)
        self._rest = rest

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """The usage line shows where the other program's words go."""
        return [*super().collect_usage_pieces(ctx), self._rest]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Our own words are parsed, the others are kept as they are."""
        place = args.index("--") if "--" in args else len(args)
        ctx.params["command"] = args[place + 1 :]
        return super().parse_args(ctx, args[:place])


def _take(ctx: click.Context, param: click.Parameter, value: object) -> None:
    name = str(param.name)
    ctx.ensure_object(Settings).take(name, value, ctx.get_parameter_source(name))


def _name(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    if value is not None and not _LABEL.fullmatch(value):
        raise click.BadParameter(
            f"{value!r} is no host name: at most 63 lower-case letters, digits and hyphens, with "
            "a letter or a digit at both ends"
        )
    _take(ctx, param, value)


_OUTPUT = option(
    "--output",
    type=click.Choice(["text", "json"]),
    callback=_take,
    expose_value=False,
    help="How to print data.  [default: text]",
)
