"""A pytest plugin that has scenarios publish to a classic queue, which lives on one node alone.

``PYTHONPATH=tests/e2e devenv test failover/queue -- -p classic_queue`` has to be red: the queue is
declared on the node that the scenario kills. Nothing is changed in the environment.
"""

from __future__ import annotations

import pytest

from devenv.testing.trial import Trial


@pytest.fixture(autouse=True)
def classic(trial: Trial) -> None:
    """The publisher declares the queue on the first control node, which is the victim."""
    trial.queue_type = "classic"
