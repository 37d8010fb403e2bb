"""Day files: the CSV of one meter and one local calendar day."""

from __future__ import annotations

from pvsim.dayfile.file import DayFile
from pvsim.dayfile.files import DayFiles
from pvsim.dayfile.name import HALF_MINUTE_NS, file_name, local_day, parse_file_name

__all__ = ["HALF_MINUTE_NS", "DayFile", "DayFiles", "file_name", "local_day", "parse_file_name"]
