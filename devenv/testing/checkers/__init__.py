"""The judgement over histories: small pure functions that answer one question each.

All times that go in are monotonic, in seconds, as :mod:`devenv.testing.history` has them; this
counts for the windows of faults, too. ``begin`` is the monotonic time from which people and the
report count: times in words are seconds since then, and :func:`evidence` turns all others.
"""

from devenv.testing.checkers.cloud import (
    Booked,
    allocations,
    boots,
    down,
    exactly_one,
    held_twice,
    overload,
    quotas,
)
from devenv.testing.checkers.delivery import messages
from devenv.testing.checkers.durability import rows
from devenv.testing.checkers.gaps import Availability, availability
from devenv.testing.checkers.judgement import combine, evidence, explain, series

__all__ = [
    "Availability",
    "Booked",
    "allocations",
    "availability",
    "boots",
    "combine",
    "down",
    "evidence",
    "exactly_one",
    "explain",
    "held_twice",
    "messages",
    "overload",
    "quotas",
    "rows",
    "series",
]
