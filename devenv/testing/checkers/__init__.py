"""The judgement over histories: small pure functions that answer one question each.

All times that go in are monotonic, in seconds, as :mod:`devenv.testing.history` has them; this
counts for the windows of faults, too. ``begin`` is the monotonic time from which people and the
report count: times in words are seconds since then, and :func:`evidence` turns all others.
"""

from devenv.testing.checkers.cloud import allocations, exactly_one, overload, quotas
from devenv.testing.checkers.delivery import messages
from devenv.testing.checkers.durability import rows
from devenv.testing.checkers.gaps import Availability, availability, latencies
from devenv.testing.checkers.judgement import combine, evidence, explain, series

__all__ = [
    "Availability",
    "allocations",
    "availability",
    "combine",
    "evidence",
    "exactly_one",
    "explain",
    "latencies",
    "messages",
    "overload",
    "quotas",
    "rows",
    "series",
]
