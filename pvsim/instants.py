"""Instants: whole nanoseconds since the epoch, 1970-01-01T00:00:00Z, leap seconds not counted (POSIX)."""

SECOND_NS = 10**9
HOUR_NS = 3600 * SECOND_NS
DAY_NS = 24 * HOUR_NS
END_NS = 253_402_300_800 * SECOND_NS  # 10000-01-01T00:00:00Z: later days have no four-digit year

Span = tuple[int, int]
"""From the first instant up to and without the second, ns."""
