"""How checkers say what they found."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping

from devenv.report.results import Check

#: Values or ranges that are named before the rest is only counted.
MOST = 8


def answer(name: str, *, wrong: str, doubt: str, right: str) -> Check:
    """What is wrong counts first, then what leaves a doubt; only without both it is a pass."""
    if wrong:
        return Check(name, "fail", "; ".join(filter(None, (wrong, doubt))))
    return Check(name, "unknown", doubt) if doubt else Check(name, "pass", right)


def listed(values: Iterable[Hashable]) -> str:
    """Values in order, integers as ranges: ``3-5, 9`` or ``3-5, 9 and 70 more``."""
    found = set(values)
    numbers = sorted(one for one in found if isinstance(one, int))
    runs: list[list[int]] = []
    for one in numbers:
        if runs and one == runs[-1][-1] + 1:
            runs[-1].append(one)
        else:
            runs.append([one])
    parts = [(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}", len(run)) for run in runs]
    parts += [(one, 1) for one in sorted(str(one) for one in found if not isinstance(one, int))]
    said = ", ".join(text for text, _ in parts[:MOST])
    left = sum(count for _, count in parts[MOST:])
    return f"{said} and {left} more" if left else said


def on_members(found: Mapping[str, Collection[Hashable]]) -> str:
    """What was found on which members, those with the same together: ``3-5 on ctl1, ctl3``."""
    members: dict[frozenset[Hashable], list[str]] = {}
    for member, values in sorted(found.items()):
        if values:
            members.setdefault(frozenset(values), []).append(member)
    return "; ".join(f"{listed(same)} on {', '.join(names)}" for same, names in members.items())


def between(times: Collection[float], begin: float) -> str:
    """``at 3.20 s`` or ``from 3.20 s to 4.10 s``, counted from `begin`; `times` is not empty."""
    first, last = min(times) - begin, max(times) - begin
    return f"at {first:.2f} s" if first == last else f"from {first:.2f} s to {last:.2f} s"
