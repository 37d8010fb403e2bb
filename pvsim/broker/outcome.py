"""How a message ends: what whoever publishes is told."""

from __future__ import annotations

from collections.abc import Callable

CONFIRMED = "confirmed"
REFUSED = "refused"  # the queue is full
UNMARKED = "unmarked"  # not taken, for it was to tell whose the queue is, and the queue is its meter's
REPLACED = "replaced"  # confirmed, by a queue that somebody who is no meter has declared
UNROUTABLE = "unroutable"  # the queue is gone
SILENT = "silent"  # no answer in time, or none that says more: to be sent again later
TOO_LARGE = "too large"  # the broker takes no messages of that size

Done = Callable[[str], None]
