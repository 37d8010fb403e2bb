"""The files of recorded profiles: opened, read in pieces, and what is wrong with them told with their name."""

from __future__ import annotations

import codecs
import logging
import os
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, TextIO

from pvsim.config import ini
from pvsim.config.simulation import Progress
from pvsim.config.values import LocalClock
from pvsim.errors import ConfigError
from pvsim.foreign import printable
from pvsim.models.replay import PARTS, WEEK, YEAR, Profile, covered_days, usual_loop
from pvsim.profiles import BadProfile, Wishes, read
from pvsim.profiles.said import UTC
from pvsim.profiles.series import MOST_MILLIWATTS

log = logging.getLogger(__name__)

_PIECE = 2**20  # characters
_STARTS = {
    b"\x1f\x8b": "compressed, by gzip",
    b"BZh": "compressed, by bzip2",
    b"\xfd7zXZ": "compressed, by xz",
    b"\x28\xb5\x2f\xfd": "compressed, by zstd",
    b"PK\x03\x04": "a spreadsheet, or an archive of ZIP",
    b"\xd0\xcf\x11\xe0": "a spreadsheet of Excel",
    b"PAR1": "of Parquet",
    b"SQLite": "a database of SQLite",
    b"\xff\xfe\0\0": "UTF-32",
}
_OF_FILE = ("column", "unit", "time_column", "time_format", "missing", "where")


def with_profile(parameters: Mapping[str, Any], days_timezone: str | None, progress: Progress) -> dict[str, Any]:
    """The parameters of a replay, with the profile, and the clock of its time zone, for the keys of its file.

    `days_timezone`: that of the day files, None where the user names none.
    """
    rest = dict(parameters)
    path, zone, loop = rest.pop("file"), rest.pop("file_timezone") or "", rest["loop"]
    wishes = Wishes(
        file_timezone=zone,
        is_looped=loop is not None,
        days_timezone=days_timezone or "",
        **{each: rest.pop(each) for each in _OF_FILE},
    )
    profile = _profile(path, wishes, progress)
    clock = LocalClock(zone) if zone and zone not in UTC else None
    _check_loop(path, profile, loop, clock)
    largest = max(max(profile.milliwatts), -min(profile.milliwatts)) * rest["scale_parts"] // PARTS
    if largest > MOST_MILLIWATTS:
        raise ConfigError(f"{ini.shown_path(path)} has, times scale, more than 10^12 W; give a smaller scale.")
    return {"profile": profile, "clock": clock, **rest}


def _check_loop(path: Path, profile: Profile, loop: int | str | None, clock: LocalClock | None) -> None:
    source = ini.shown_path(path)
    if profile.is_typical and loop not in (None, YEAR):
        raise ConfigError(f"{source} is a typical year, of months of several years; take the key loop away.")
    days = covered_days(profile, clock)
    if loop == WEEK and days < 6.9:
        raise ConfigError(
            f"{source} has {days:.1f} days, too few for loop = week; give loop = day, or a file of a week."
        )


@lru_cache(maxsize=100)
def _profile(path: Path, wishes: Wishes, progress: Progress) -> Profile:
    source = ini.shown_path(path)
    try:
        if not path.is_file():
            raise ConfigError(f"{source} is no file; {_hint(path)}create it, or name another one.")
        profile = _read(path, wishes, progress)
    except OSError as error:
        raise ini.unreadable(source, error) from None
    except UnicodeDecodeError:
        raise ConfigError(f"{source} is neither UTF-8 nor UTF-16; save the file as UTF-8.") from None
    except BadProfile as error:
        text = printable(str(error))
        raise ConfigError(f"{source}, {text}" if text.startswith("line ") else f"{source} {text}") from None
    for note in _notes(profile, wishes):
        log.warning("%s: %s.", source, note)
    return profile


def _notes(profile: Profile, wishes: Wishes) -> list[str]:
    """What a user should know of a profile that can be used."""
    notes = list(profile.notes)
    clock = LocalClock(wishes.file_timezone) if wishes.file_timezone else None
    loop = usual_loop(profile, clock)
    if not wishes.is_looped and not isinstance(loop, str):
        hours = loop / 3.6e12
        notes.append(
            f"it is {hours:,.1f} hours long, not whole days, and then begins again; loop = day keeps the hours"
        )
    days = covered_days(profile, clock)
    if loop == YEAR and days < 360:
        notes.append(f"it covers {days:.0f} days of a year; on other days the power before them lasts")
    return notes


def _hint(path: Path) -> str:
    """What may be wrong with a name."""
    if path.name[:1] in "\"'" or path.name[-1:] in "\"'":
        return "the quotes count as part of the name: take them away, "
    if any(part.startswith("~") for part in path.parts):
        return "~ is not your home directory here: write the whole name, "
    if " #" in str(path) or " ;" in str(path):
        return "a comment needs a line of its own: take it away, "
    return ""


def _read(path: Path, wishes: Wishes, progress: Progress) -> Profile:
    """UTF-8 or, where it has a mark for that, UTF-16. Older programs write Latin letters in their own code."""
    with path.open("rb") as stream:
        start = stream.read(8)
    if not start:
        raise BadProfile("is empty; give a header, and lines of data.")
    for mark, kind in _STARTS.items():
        if start.startswith(mark):
            raise BadProfile(f"is {kind}; give its content as a CSV file in UTF-8.")
    marks = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    if not start.startswith(marks) and b"\0" in start:
        raise BadProfile("is UTF-16 without a mark that says so, or no text; save the file as UTF-8.")
    for encoding in ["utf-16"] if start.startswith(marks) else ["utf-8-sig", "cp1252"]:
        try:
            with path.open(encoding=encoding, newline=None) as text:
                return read(_pieces(text, path, progress), wishes)
        except UnicodeDecodeError:
            if encoding != "utf-8-sig":
                raise
    raise AssertionError("one of the encodings has been the last")


def _pieces(text: TextIO, path: Path, progress: Progress) -> Iterator[str]:
    """The text, in pieces of whole lines."""
    size = os.fstat(text.fileno()).st_size
    while piece := text.read(_PIECE):
        yield piece + text.readline()
        if progress:
            part = min(100, 100 * text.buffer.tell() // max(1, size))
            progress(f"reading {path.name}, {part} % of {size / 1e6:.0f} MB")
