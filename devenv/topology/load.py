"""Topology files and presets into models, and every problem with its file and line."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, NoReturn, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from devenv.core.errors import InputError
from devenv.topology.document import Document, DocumentError, read
from devenv.topology.models import VERSION, Topology

_REMEDY = "`devenv export topology-schema` describes every key"


@dataclass(frozen=True)
class LoadedTopology:
    """A topology and where it came from.

    :param source: the preset's name, or the file's absolute path.
    :param text: what the file says, comments and all.
    """

    topology: Topology
    source: str
    text: str
    _file: str = field(repr=False)
    _document: Document = field(repr=False)

    def where(self, *path: str | int) -> str:
        """``FILE:LINE`` of a key, such as ``where("overrides", "nova", "source")``.

        A key that is not in the file has the line of the nearest one around it.
        """
        return f"{self._file}:{self._document.line(path)}"


def presets() -> tuple[str, ...]:
    """The names of the presets, in alphabetical order."""
    folder = resources.files("devenv.topology") / "presets"
    names = (Path(entry.name) for entry in folder.iterdir())
    return tuple(sorted(name.stem for name in names if name.suffix == ".yaml"))


def load(source: str | Path) -> LoadedTopology:
    """Read and check a preset, given by name, or a file (``./aio`` is a file, ``aio`` is not).

    Checkouts in ``overrides`` come back as absolute paths of folders that exist.

    :raises InputError: no such preset or file, or every problem of it with file and line.
    """
    if isinstance(source, str) and source in presets():
        file, folder, name = f"{source}.yaml", Path.cwd(), source
        text = (resources.files("devenv.topology") / "presets" / file).read_text("utf-8")
    else:
        file, path = str(source), Path(source)
        text = _read_text(source, path)
        folder, name = path.absolute().parent, str(path.absolute())
    try:
        document = read(text)
    except DocumentError as error:
        place = ":".join(str(part) for part in (file, error.line, error.column) if part is not None)
        _fail(file, [f"{place}: {error.text}"])
    topology = _check(document, file, folder)
    return LoadedTopology(topology, name, text, file, document)


def _read_text(source: str | Path, path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        names = presets()
        raise InputError(
            f"there is no topology {str(source)!r}: no preset has that name, and no file"
            + _did_you_mean(path.stem, names),
            remedy=f"presets are {', '.join(names)}; anything else is the path of a YAML file",
        ) from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        _fail(str(source), [f"{source}:{line}: it is not UTF-8 text"])
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"cannot read the topology {str(source)!r}: {reason}") from None


def _check(document: Document, file: str, folder: Path) -> Topology:
    data = document.data
    if data is None:
        _fail(file, [f"{file}:1: the file is empty; it should say `version: 1` and `nodes:`"])
    if not isinstance(data, dict):
        what = f"should be keys and values, starting with `version: {VERSION}` (got {_got(data)})"
        _fail(file, [f"{file}:{document.line(())}: the file {what}"])
    version = data.get("version", VERSION)
    if type(version) is not int or version != VERSION:  # True == 1
        # The rest of a file in another format would only yield misleading errors.
        text = f"this devenv reads version {VERSION}"
        _fail(
            file, [f"{file}:{document.line(('version',))}: version: {text} (got {_got(version)})"]
        )
    try:
        return Topology.model_validate(data, context={"folder": folder})
    except ValidationError as error:
        found = [problem for details in error.errors() for problem in _explain(details)]
        lines = sorted(((document.line(path), path, text) for path, text in found), key=_by_line)
        _fail(file, [f"{file}:{line}: {_dotted(path)}{text}" for line, path, text in lines])


def _by_line(problem: tuple[int, Any, str]) -> int:
    return problem[0]


def _fail(file: str, problems: list[str]) -> NoReturn:
    count = "a problem" if len(problems) == 1 else f"{len(problems)} problems"
    raise InputError(
        f"the topology {file} has {count}", detail="\n".join(problems), remedy=_REMEDY
    ) from None


def _dotted(path: tuple[Any, ...]) -> str:
    return ".".join(map(str, path)) + ": " if path else ""


def _explain(details: ErrorDetails) -> Iterator[tuple[tuple[Any, ...], str]]:
    """The path and the words for one of pydantic's errors, which may hold several problems."""
    path, kind, value = details["loc"], details["type"], details["input"]
    context = details.get("ctx", {})
    if kind == "problems":
        for at, text in context["problems"]:
            yield (*path, *at), text
    elif kind == "extra_forbidden":
        known = _keys_at(path[:-1])
        hint = _did_you_mean(str(path[-1]), known) or f"; known are {', '.join(known)}"
        yield path, f"unknown key{hint}"
    elif kind == "missing":
        yield path, "is required"
    elif path and path[-1] == "[key]":
        yield path[:-1], _name_rule(path, kind)
    else:
        yield path, f"{_words(details, context)} (got {_got(value)}){_hint(kind, value, context)}"


def _words(details: ErrorDetails, context: dict[str, Any]) -> str:
    match details["type"]:
        case "value_error":
            return str(context["error"])
        case "literal_error":
            return f"should be one of {', '.join(_choices(context))}"
        case "model_type" | "model_attributes_type" | "dict_type":
            return "should be keys and values"
        case "tuple_type" | "list_type":
            return "should be a list"
        case "string_type":
            return "should be text"
        case "int_type" | "int_from_float" | "int_parsing":
            return "should be a whole number"
        case "float_type":
            return "should be a number"
        case "string_pattern_mismatch":
            return _PATTERN_RULES.get(str(details["loc"][0]), "is not a name that can be used")
        case "too_short":
            return "should not be empty"
        case _:
            return details["msg"].removeprefix("Input ")


_PATTERN_RULES = {
    "release": 'should be an OpenStack release such as "2026.1"',
    "images": "should be what stands before an image's name, such as registry.example.org/kolla",
    "services": "should be the name of a service, in lower case",
}


def _name_rule(path: tuple[Any, ...], kind: str) -> str:
    if kind == "string_type":
        return "a key should be text: put it in quotes"
    match path[0]:
        case "nodes":
            return (
                "should be a host name: at most 63 lower-case letters, digits and hyphens, with "
                "a letter or a digit at both ends"
            )
        case "overrides" if len(path) == 3:
            return "should be the name of a service, in lower case"
        case _ if path[2:3] == ("files",) and len(path) == 5:
            return "should be the name of a config file, without a folder"
        case _:
            return "should be the name of a section or an option of a config file"


def _choices(context: dict[str, Any]) -> list[str]:
    """The words out of pydantic's ``'a', 'b' or 'c'``."""
    return re.findall(r"'([^']*)'", context["expected"]) or [context["expected"]]


def _hint(kind: str, value: object, context: dict[str, Any]) -> str:
    if kind == "literal_error" and isinstance(value, str):
        return _did_you_mean(value, _choices(context))
    if kind == "string_type" and isinstance(value, int | float):
        return "; put it in quotes"
    return ""


def _did_you_mean(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word.lower(), list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _got(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "keys and values"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, bool):
        return str(value).lower()
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _keys_at(path: tuple[Any, ...]) -> list[str]:
    """The keys that the model at `path` has."""
    kind: Any = Topology
    for key in path:
        of_dict = get_origin(kind) is dict
        kind = get_args(kind)[1] if of_dict else kind.model_fields[key].annotation
    assert issubclass(kind, BaseModel)
    return [info.alias or name for name, info in kind.model_fields.items()]
