"""YAML read so that each key knows its line, and no key stands twice.

Plain words become only what YAML 1.2 makes of them: ``true`` and ``false``, decimal
numbers, null. Everything else stays the text that was typed: ``on``, ``0644``, ``1:30``
and ``2026-01-01`` are values of config files, and YAML 1.1 would change them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

#: Keys and list indices from the top down.
KeyPath = tuple[Any, ...]


@dataclass(frozen=True)
class Document:
    """What a file says and where.

    :param data: the contents in Python types; None for an empty file.
    :param lines: the line, from 1, of each key and list item by its path; ``()`` is the whole.
    """

    data: Any
    lines: dict[KeyPath, int]

    def line(self, path: KeyPath) -> int:
        """The line of `path`, or of the nearest thing around it that is in the file."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


class DocumentError(Exception):
    """The text is not YAML that can be used.

    :param line: from 1, or None if it is not known.
    :param column: from 1, or None.
    """

    def __init__(self, text: str, line: int | None = None, column: int | None = None) -> None:
        super().__init__(text)
        self.text, self.line, self.column = text, line, column


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  # replaces PyYAML's of YAML 1.1


for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?(0|[1-9][0-9]*)", list("-+0123456789")),
    ("float", r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+)([eE][-+][0-9]+)?", list("-+.0123456789")),
    ("merge", r"<<", ["<"]),
):
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), _first
    )


def read(text: str) -> Document:
    """Read one YAML document.

    :raises DocumentError: syntax, a key that stands twice, a tag or an alias of no use here.
    """
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        if root is None:
            return Document(None, {})
        lines: dict[KeyPath, int] = {(): root.start_mark.line + 1}
        lines.update(_lines(loader, root, (), set()))
        return Document(loader.construct_document(root), lines)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        words = ", ".join(part for part in (error.context, error.problem) if part)
        if mark is None:
            raise DocumentError(words) from error
        raise DocumentError(words, mark.line + 1, mark.column + 1) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise DocumentError(f"a character that YAML forbids: {error.character!r}", line) from error
    except (ValueError, LookupError, AttributeError) as error:
        # What PyYAML lets through: `!!int x`, `!!bool x`, a number of thousands of digits.
        raise DocumentError(f"a value that does not fit its type: {error}") from error
    except RecursionError:
        raise DocumentError("it is nested too deeply, or an alias refers to itself") from None


def _lines(
    loader: _Loader, node: yaml.Node, path: KeyPath, checked: set[int]
) -> Iterator[tuple[KeyPath, int]]:
    """The path and line of everything below `node`.

    :param checked: the mappings known to have no key twice. One that an alias names is met
        again, with merged keys (``<<``) by then, which may be overridden.
    """
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield (*path, index), item.start_mark.line + 1
            yield from _lines(loader, item, (*path, index), checked)
    elif isinstance(node, yaml.MappingNode):
        if id(node) not in checked:
            _refuse_duplicates(node)
            checked.add(id(node))
        loader.flatten_mapping(node)
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                here = (*path, loader.construct_object(key))
                yield here, key.start_mark.line + 1
                yield from _lines(loader, value, here, checked)


def _refuse_duplicates(node: yaml.MappingNode) -> None:
    first: dict[tuple[str, str], int] = {}
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode):
            line, name = key.start_mark.line + 1, (key.tag, key.value)
            if name in first:
                text = f"the key {key.value!r} stands twice, first on line {first[name]}"
                raise DocumentError(text, line, key.start_mark.column + 1)
            first[name] = line
