"""Axes: where a value is, and which values get a label."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

#: Steps between labels that people can count in; seconds go on with parts of a minute.
_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)
#: A range of latencies that spans more than this factor is drawn on a logarithmic scale.
_LINEAR = 8
#: Seconds; what is quicker is drawn there.
_QUICKEST = 1e-5


@dataclass(frozen=True)
class Scale:
    """A range of values and those that are labelled.

    :param low: smaller than `high`; positive if `log`.
    """

    low: float
    high: float
    ticks: tuple[float, ...]
    log: bool = False

    def place(self, value: float) -> float:
        """Where `value` is: 0 for `low`, 1 for `high`; what is outside is at that end."""
        value = min(max(value, self.low), self.high)
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


def time_axis(end: float, most: int = 9) -> Scale:
    """From 0 to `end` seconds, with at most `most` labels after the first."""
    end = max(end, 0.001)
    step = _step(end / most)
    return Scale(0.0, end, tuple(step * index for index in range(int(end / step + 1e-9) + 1)))


def latency_axis(values: Collection[float], most: int = 3) -> Scale:
    """Around all `values` in seconds: linear from 0 if they are alike, else logarithmic."""
    low = max(min(values, default=0.001), _QUICKEST)
    high = max(*values, low) if values else low
    if high < low * _LINEAR:
        step = _step(high / (most - 1))
        steps = math.ceil(high / step - 1e-9)
        return Scale(0.0, step * steps, tuple(step * index for index in range(steps + 1)))
    # A decade more at the top where a value would touch the edge.
    first, last = math.floor(math.log10(low) + 1e-9), math.ceil(math.log10(high) - 1e-9)
    skip = math.ceil((last - first) / most)
    ticks = tuple(10.0**power for power in range(first, last + 1, skip))
    return Scale(10.0**first, 10.0**last, ticks, log=True)


def _step(least: float) -> float:
    """The smallest good step that is not smaller than `least`."""
    if least > _STEPS[0]:
        return next((step for step in _STEPS if step >= least), 3600.0 * math.ceil(least / 3600))
    power = 10.0 ** math.floor(math.log10(least) + 1e-9)
    return next(power * step for step in (1, 2, 5, 10) if power * step >= least * (1 - 1e-9))
