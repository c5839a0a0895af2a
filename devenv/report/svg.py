"""Elements of inline SVG.

Charts have no fixed width: places along it are percentages, everything else is in pixels. So text
and marks keep their size on a narrow screen and on paper. Colours come from the page's style.
"""

from __future__ import annotations

from markupsafe import Markup, escape

from devenv.report.text import clean

#: The finest place along a chart's width that is told apart; a pixel on a wide screen.
COLUMNS = 1000


def tag(name: str, *children: str, **attributes: object) -> Markup:
    """An element. ``class_`` stands for ``class``, ``data_x`` for ``data-x``; None is left out.

    Children that are not markup are escaped, as are attributes.
    """
    parts = [f"<{name}"]
    for key, value in attributes.items():
        if value is not None:
            text = number(value) if isinstance(value, float) else value
            parts.append(f' {key.rstrip("_").replace("_", "-")}="{escape(clean(str(text)))}"')
    inside = Markup("").join(
        child if isinstance(child, Markup) else clean(child) for child in children
    )
    parts.append(f">{inside}</{name}>" if children else "/>")
    return Markup("".join(parts))  # noqa: S704 (every part is escaped)


def number(value: float) -> str:
    """Two decimals at most."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def percent(fraction: float) -> str:
    """A place along the width."""
    return f"{number(fraction * 100)}%"


def column(fraction: float) -> int:
    """The column that a place along the width falls into."""
    return min(int(fraction * COLUMNS), COLUMNS - 1)


def chart(*children: str, height: float, said: str, class_: str = "plot") -> Markup:
    """A chart as wide as its place on the page.

    :param said: what it shows, for those who do not see it.
    """
    return tag("svg", *children, class_=class_, height=height, role="img", aria_label=said)


def stretched(*children: str, height: float) -> Markup:
    """Paths as wide as the chart: their x goes from 0 to :data:`COLUMNS`, their y is in pixels."""
    return tag(
        "svg",
        *children,
        width="100%",
        height=height,
        viewBox=f"0 0 {COLUMNS} {number(height)}",
        preserveAspectRatio="none",
    )
