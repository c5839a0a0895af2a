"""The scalar types of a topology file: sizes, networks, names, options.

Each is one function from what YAML gave to what the code uses, so that a bad value
has one error, not one for each member of a union.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Hashable
from decimal import Decimal
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    PlainValidator,
    StringConstraints,
    ValidationInfo,
    WithJsonSchema,
)

T = TypeVar("T", bound=Hashable)

KIB = 1024
GIB = KIB**3
_UNITS = {"K": KIB, "M": KIB**2, "G": GIB, "T": KIB**4}
_SIZE = r"([0-9]+(?:\.[0-9]+)?) ?([KMGTkmgt])(?:[iI][bB])?"

#: RFC 1918. Narrower than ``IPv4Network.is_private``, which counts loopback and
#: documentation networks too.
_PRIVATE = tuple(map(IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")))
_LONGEST_PREFIX = 28

#: A host label as of RFC 1123 section 2.1, in lower case.
LABEL_LENGTH = 63
LABEL = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
_IPV4 = r"[0-9]{1,3}(\.[0-9]{1,3}){3}"
_CIDR = _IPV4 + r"/[0-9]{1,2}"


def parse_size(value: object) -> int:
    """The bytes in a text such as ``4GiB``, ``512 MiB`` or ``4G``, in whole KiB.

    ``G`` is 1024**3, as in Docker and Compose. ``GB`` is refused: tools disagree on it.

    :raises ValueError: no unit, an unknown unit, less than one KiB.
    """
    match = re.fullmatch(_SIZE, value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("should be a size with a binary unit, such as 512MiB, 4GiB or 4G")
    size: int = int(Decimal(match[1]) * _UNITS[match[2].upper()])
    if size < KIB:
        raise ValueError("should be at least 1KiB")
    return size - size % KIB


def format_size(size: int) -> str:
    """`size` bytes as a text that :func:`parse_size` reads back: ``4GiB``, ``1536MiB``."""
    unit = next(letter for letter in "TGMK" if letter == "K" or size % _UNITS[letter] == 0)
    return f"{size // _UNITS[unit]}{unit}iB"


def _size_as_text(size: int | None) -> str | None:
    return None if size is None else format_size(size)


def _parse_network(value: object) -> IPv4Network:
    text = str(value)
    try:
        if not isinstance(value, str | IPv4Network) or not re.fullmatch(_CIDR, text):
            raise ValueError
        network = IPv4Network(text, strict=False)
    except ValueError:
        raise ValueError("should be an IPv4 network such as 172.30.0.0/24") from None
    if IPv4Address(text.partition("/")[0]) != network.network_address:
        raise ValueError(f"has host bits set; did you mean {network}?")
    if network.prefixlen > _LONGEST_PREFIX:
        raise ValueError(f"is too small; it should be at least a /{_LONGEST_PREFIX}")
    if not any(network.subnet_of(block) for block in _PRIVATE):
        blocks = ", ".join(map(str, _PRIVATE))
        raise ValueError(f"is not a private network (inside one of {blocks})")
    return network


def _parse_network_or_auto(value: object) -> IPv4Network | Literal["auto"]:
    try:
        return "auto" if value == "auto" else _parse_network(value)
    except ValueError as error:
        if str(error).startswith("should be"):
            raise ValueError(f"{error}, or auto") from None
        raise


def _parse_vip(value: object) -> IPv4Address | Literal["auto"] | None:
    if value is None or isinstance(value, IPv4Address):
        return value
    try:
        if isinstance(value, str):
            return "auto" if value == "auto" else IPv4Address(value)
    except ValueError:
        pass
    raise ValueError("should be an IPv4 address, auto, or null for none")


def _parse_option(value: object) -> Scalar | tuple[Scalar, ...]:
    if isinstance(value, list | tuple):
        for number, item in enumerate(value):
            _check_scalar(item, f"item {number + 1} should be text, a number, true or false")
        return tuple(value)
    _check_scalar(value, "should be text, a number, true or false, or a list of those")
    return value  # type: ignore[return-value]  # _check_scalar has seen to it


def _option_as_json(value: Scalar | tuple[Scalar, ...]) -> Scalar | list[Scalar]:
    return list(value) if isinstance(value, tuple) else value


def _check_scalar(value: object, otherwise: str) -> None:
    finite = not isinstance(value, float) or math.isfinite(value)
    if not isinstance(value, str | int | float) or not finite:
        raise ValueError(otherwise)


def _parse_folder(value: object, info: ValidationInfo) -> Path:
    return _parse_path(value, info, "folder", Path.is_dir)


def _parse_file(value: object, info: ValidationInfo) -> Path:
    return _parse_path(value, info, "file", Path.is_file)


def _parse_path(
    value: object, info: ValidationInfo, kind: str, is_one: Callable[[Path], bool]
) -> Path:
    """Resolve against ``context["folder"]`` and check that it is there, if that is given."""
    if not isinstance(value, str | Path) or not str(value) or "\0" in str(value):
        raise ValueError(f"should be the path of a {kind}")
    path = Path(value)
    base: Path | None = (info.context or {}).get("folder")
    if base is None:
        return path
    try:
        path = (base / path.expanduser()).resolve()
    except RuntimeError as error:  # "~nobody-of-that-name"
        raise ValueError(str(error)) from None
    if not is_one(path):
        what = f"is not a {kind}" if path.exists() else "does not exist"
        raise ValueError(f"the {kind} {path} {what}")
    return path


def _unique(values: tuple[T, ...]) -> tuple[T, ...]:
    for value in values:
        if values.count(value) > 1:
            raise ValueError(f"{value} is listed more than once")
    return values


Scalar = str | int | float | bool
_SCALAR_SCHEMA: dict[str, Any] = {"type": ["string", "number", "boolean"]}
_AS_TEXT = PlainSerializer(lambda value: None if value is None else str(value), when_used="json")

#: Bytes; text with a unit in YAML and JSON.
Size = Annotated[
    int,
    BeforeValidator(parse_size),
    PlainSerializer(_size_as_text, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": f"^{_SIZE}$", "examples": ["512MiB", "4GiB"]}),
]
#: Processors, a finite number above 0.
Cpus = Annotated[float, Field(gt=0, strict=True, allow_inf_nan=False)]
Cidr = Annotated[
    IPv4Network,
    PlainValidator(_parse_network),
    _AS_TEXT,
    WithJsonSchema({"type": "string", "pattern": f"^{_CIDR}$", "examples": ["172.30.0.0/24"]}),
]
CidrOrAuto = Annotated[
    IPv4Network | Literal["auto"],
    PlainValidator(_parse_network_or_auto),
    _AS_TEXT,
    WithJsonSchema(
        {"type": "string", "pattern": f"^(auto|{_CIDR})$", "examples": ["auto", "172.30.0.0/24"]}
    ),
]
Vip = Annotated[
    IPv4Address | Literal["auto"] | None,
    PlainValidator(_parse_vip),
    _AS_TEXT,
    WithJsonSchema(
        {
            "type": ["string", "null"],
            "pattern": f"^(auto|{_IPV4})$",
            "examples": ["auto", "172.30.0.250", None],
        }
    ),
]
Label = Annotated[str, StringConstraints(pattern=LABEL)]
ServiceName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]*$")]
FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")]
SectionName = Annotated[str, StringConstraints(pattern=r"^[^\[\]\r\n]*$")]
OptionName = Annotated[str, StringConstraints(pattern=r"^[^=\s]([^=\r\n]*[^=\s])?$")]
OptionValue = Annotated[
    Scalar | tuple[Scalar, ...],
    PlainValidator(_parse_option),
    PlainSerializer(_option_as_json, when_used="json"),
    WithJsonSchema({"anyOf": [_SCALAR_SCHEMA, {"type": "array", "items": _SCALAR_SCHEMA}]}),
]
#: Section name to option name to value; ``""`` is the section of a file without sections.
ConfigFile = dict[SectionName, dict[OptionName, OptionValue]]
Folder = Annotated[
    Path,
    PlainValidator(_parse_folder),
    _AS_TEXT,
    WithJsonSchema({"type": "string", "minLength": 1, "examples": ["../nova"]}),
]
ExistingFile = Annotated[
    Path,
    PlainValidator(_parse_file),
    _AS_TEXT,
    WithJsonSchema({"type": "string", "minLength": 1, "examples": ["~/.ssh/id_ed25519"]}),
]
#: A network device: IFNAMSIZ is 16 with the final zero, linux/if.h.
Interface = Annotated[str, StringConstraints(pattern=r"^[^\s/:]{1,15}$")]
Role = Literal["control", "network", "compute"]
UniqueItems = (AfterValidator(_unique), Field(json_schema_extra={"uniqueItems": True}))
Roles = Annotated[tuple[Role, ...], Field(min_length=1), *UniqueItems]
ServiceNames = Annotated[tuple[ServiceName, ...], *UniqueItems]
