"""What the user has said of a file."""

from __future__ import annotations

from typing import NamedTuple

ERROR, SKIP, ZERO = "error", "skip", "zero"


class Wishes(NamedTuple):
    """The keys of a replayed file; empty where nothing was said.

    `where`: a column and the value that its rows have; `is_looped`: whether the user says how it is looped;
    `days_timezone`: the time zone of the day files, which the file may be in as well.
    """

    column: str = ""
    unit: str = ""
    time_column: str = ""
    file_timezone: str = ""
    time_format: str = ""
    missing: str = ERROR
    where: tuple[str, str] | None = None
    is_looped: bool = False
    days_timezone: str = ""
