"""How many examples hypothesis draws: a third of them in the quick part, `sh tests/run.sh unit` without CI set."""

from __future__ import annotations

import os

from hypothesis import settings

IS_QUICK = "PVSIM_QUICK" in os.environ


def examples(count: int) -> settings:
    """For a test that is to see so many examples."""
    return settings(max_examples=count // 3 if IS_QUICK else count)
