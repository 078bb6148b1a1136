r"""Which workloads does a lab's property test try?

The same ones for everybody, every time: a learner who fixes a failing example must not be told
that it passes because another one was drawn. So the draws are derandomized, nothing is stored
between runs, and there is no deadline: the time guard of {py:mod}`labkit.guard` ends a loop.
"""

from __future__ import annotations

import hypothesis.core
from hypothesis import HealthCheck, Phase, settings
from hypothesis.vendor.pretty import RepresentationPrinter

# schemathesis, where it is installed, swaps the printer of failing examples for one that prints
# nothing; the failing example is what a learner reads first.
hypothesis.core.RepresentationPrinter = RepresentationPrinter  # type: ignore[misc]

# Shrinking makes a failure readable and takes most of a failing test's time. A mutant's failure is
# read by nobody: the bench clears this before it collects.
SHRINK = True


def examples(count: int) -> settings:
    r"""A decorator for a hypothesis test: try this many workloads, always the same ones."""
    phases = [Phase.explicit, Phase.generate]
    return settings(
        max_examples=count,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[*phases, Phase.shrink] if SHRINK else phases,
        # `impl` is loaded once per test, not per example: nothing in it may depend on the example.
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
