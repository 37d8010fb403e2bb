"""The day files that a command line names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date
from glob import glob, has_magic
from pathlib import Path

from pvsim.dayfile.name import parse_file_name
from pvsim.errors import ConfigError


def named_day_files(paths: Iterable[Path]) -> Iterator[tuple[str, date, Path]]:
    """Meter, day and path of each file, each file once; ConfigError if a name is not that of a day file.

    A pattern such as Meter_0-*.csv stands for what matches: before `sudo pvsim verify`, the shell of a user who may not
    look into /var/lib/pvsim leaves it as it is.
    """
    named = {path.absolute(): path for each in paths for path in _matching(each)}
    for path in named.values():
        if path.exists() and not path.is_file() and not path.is_dir():
            raise ConfigError(f"{path} is no file, and may never end; leave it out.")
        try:
            meter_id, day = parse_file_name(path.name)
        except ValueError as error:
            raise ConfigError(f"{path}: {error}; give day files.") from None
        yield meter_id, day, path


def by_meter(paths: Iterable[Path]) -> dict[str, dict[date, list[Path]]]:
    """The files of each meter and day, as `named_day_files` finds them."""
    meters: dict[str, dict[date, list[Path]]] = {}
    for meter_id, day, path in named_day_files(paths):
        meters.setdefault(meter_id, {}).setdefault(day, []).append(path)
    return meters


def size(paths: Iterable[Path]) -> int:
    """Bytes of the files that can be looked at."""
    return sum(path.stat().st_size for path in paths if path.exists())


def unreadable(path: Path, error: OSError) -> ConfigError:
    """What to say of a file that cannot be read."""
    return ConfigError(f"Cannot read {path}: {error.strerror}; give a file that you may read.")


def _matching(path: Path) -> list[Path]:
    if not has_magic(str(path)) or path.exists():
        return [path]
    found = sorted(glob(str(path)))  # noqa: PTH207 a Path's own takes no absolute pattern
    if not found:
        raise ConfigError(f"No file matches {path}; give day files.")
    return list(map(Path, found))
