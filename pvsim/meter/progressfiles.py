"""Progress on disk: one small file a process, replaced as a whole, and a meter's track in one of them at a time.

Many processes share a directory: the fleet, further meters, histories. Each holds the lock of its own file for as long
as it runs, and that file has the tracks of the meters that it runs and of no others. Which meters those are may change
from start to start. So whoever starts looks for its meters in all files of the directory, and moves their tracks into
its own; tracks that it has and does not run go to a file where they rest. A track is written where it goes before it is
taken from where it was, and each file is whole at any moment: whoever is killed in between leaves the same track in two
places, and the next one to start puts that right.
"""

from __future__ import annotations

import logging
import os
import random
import re
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from pvsim import disk
from pvsim.errors import IdError, ProgressError
from pvsim.ids import expand_ids
from pvsim.meter.progress import Saved, Track, dump, read

log = logging.getLogger("pvsim.meter")

_STARTING = "progress.starting"  # locked while tracks are moved; no list of ids gives this name
_STARTING_S = 20.0
_HISTORY = re.compile(r"[0-9.]*\.\.[0-9.]*(?:x[0-9.]+)?")
_SHORTENED = re.compile(r".{150}-[0-9a-f]{16}")


class ProgressFile:
    """The tracks of one process on disk. `tracks`: those that were found, of the meters that it runs."""

    def __init__(self, path: Path, meter_ids: Collection[str], history: str = "") -> None:
        """Find the tracks of these meters, and make them ours; `history`: the name of the timeline.

        ProgressError if another process runs one of them, if a file is damaged, or the directory cannot be written.
        """
        self.path = path
        self._history = history
        try:
            with _starting(path.parent):
                self._lock = self._hold(path)
                try:
                    self.tracks = self._take(set(meter_ids))
                except BaseException:
                    self.close()
                    raise
        except OSError as error:
            raise ProgressError(
                f"Cannot keep the progress in {path.parent}: {error.strerror}; "
                "give a --state-dir that exists and can be written."
            ) from None

    def save(self, tracks: Mapping[str, Track]) -> None:
        """Replace the file, durably; OSError (a full disk, say) leaves the old one as it was."""
        self._write(self.path, tracks)

    def close(self) -> None:
        """Let another process have it."""
        os.close(self._lock)

    def _hold(self, path: Path) -> int:
        try:
            return _locked(path)
        except disk.Held:
            raise ProgressError(
                f"Another process publishes these meters and keeps its progress in {path}; "
                "stop it first, or give this one another --state-dir."
            ) from None

    def _take(self, meter_ids: set[str]) -> dict[str, Track]:
        own = self._read(self.path).tracks if self.path.exists() else {}
        others = dict(self._others(meter_ids))
        with ExitStack() as stack:
            for path, tracks in others.items():
                lock = self._hold_other(path, meter_ids & tracks.keys())
                stack.callback(os.close, lock)
            found = {each: track for each, track in own.items() if each in meter_ids}
            for tracks in others.values():
                found = _newest(found, {each: track for each, track in tracks.items() if each in meter_ids})
            resting = {each: track for each, track in own.items() if each not in meter_ids}
            if resting:
                self._rest(resting, others)
            if resting or others:
                self._write(self.path, found)
            for path, tracks in others.items():
                self._leave(path, {each: track for each, track in tracks.items() if each not in meter_ids})
        return found

    def _others(self, meter_ids: set[str]) -> Iterator[tuple[Path, dict[str, Track]]]:
        """The other files of this directory and history that have some of these meters."""
        for path in sorted(self.path.parent.glob("progress*.json")):
            if path == self.path:
                continue
            try:
                saved = self._read(path)
            except ProgressError as error:
                log.warning("%s It is left out for now.", error)
                continue
            if _is_of(saved, path, self._history) and not meter_ids.isdisjoint(saved.tracks):
                yield path, saved.tracks

    def _read(self, path: Path) -> Saved:
        try:
            return read(path.read_text())
        except OSError as error:
            raise ProgressError(disk.sentence("read", path, error)) from None
        except (ValueError, TypeError, RecursionError) as error:
            raise ProgressError(
                f"{path} is damaged ({error}); move it away, and its meters begin anew from now."
            ) from None

    def _hold_other(self, path: Path, meter_ids: set[str]) -> int:
        try:
            return _locked(path)
        except disk.Held:
            first, *more = sorted(meter_ids)
            raise ProgressError(
                f"{first}{f' and {len(more)} more' if more else ''} of {self.path.name}: another process publishes that"
                f" already, and keeps its progress in {path}; stop it first, or give this one another --state-dir."
            ) from None

    def _rest(self, resting: dict[str, Track], others: dict[Path, dict[str, Track]]) -> None:
        """Keep the tracks of meters that are not run any more, for whoever runs them next."""
        path = self.path.with_name(f"{self.path.stem}.resting.json")
        before = others.get(path) or (self._read(path).tracks if path.exists() else {})
        others[path] = _newest(before, resting)
        self._write(path, others[path])

    def _leave(self, path: Path, tracks: dict[str, Track]) -> None:
        """A file keeps the tracks that were not taken from it; one that has none is removed."""
        if tracks:
            self._write(path, tracks)
        else:
            path.unlink()
            path.with_suffix(".lock").unlink(missing_ok=True)
            disk.sync_directory(path.parent)

    def _write(self, path: Path, tracks: Mapping[str, Track]) -> None:
        disk.replace(path, dump(tracks, self._history, path.name))


def file_name(specs: Iterable[str]) -> str:
    """The name of the progress file of a process that was given these ids; without any, it is the fleet's."""
    name = "+".join(specs)
    if len(name) > 200:
        from hashlib import blake2b

        name = f"{name[:150]}-{blake2b(name.encode(), digest_size=8).hexdigest()}"
    return f"progress-{name}.json" if name else "progress.json"


def _newest(some: Mapping[str, Track], others: Mapping[str, Track]) -> dict[str, Track]:
    """All of both; of a meter that has two tracks, the one that has come further."""
    found = dict(some)
    for meter_id, track in others.items():
        if meter_id not in found or track.confirmed_ns > found[meter_id].confirmed_ns:
            found[meter_id] = track
    return found


def _is_of(saved: Saved, path: Path, history: str) -> bool:
    """Whether this is a file of that history, under the name that it was given by us.

    A file of version 1 does not say: its name has the ids that it was made for, and those are in it.
    """
    if saved.file is not None:
        return saved.file == path.name and saved.history == history
    name = path.stem.removeprefix("progress").removeprefix("-")
    specs = name.split("+") if name else []
    of_history = specs.pop() if specs and _HISTORY.fullmatch(specs[-1]) else ""
    if of_history != history or _SHORTENED.fullmatch(name):
        return False
    try:
        return set(expand_ids(specs) if specs else ()) <= saved.tracks.keys()
    except IdError:
        return False


def _locked(path: Path) -> int:
    """A descriptor of the locked file beside `path`; Held if another process has it."""
    return disk.open_alone(path.with_suffix(".lock"), 0o600)


@contextmanager
def _starting(directory: Path) -> Iterator[None]:
    """One process at a time; the others wait for that moment."""
    descriptor = _wait_for(directory / _STARTING)
    try:
        yield
    finally:
        os.close(descriptor)


def _wait_for(path: Path) -> int:
    end_s = time.monotonic() + _STARTING_S
    while True:
        try:
            return disk.open_alone(path, 0o600)
        except disk.Held:
            if time.monotonic() > end_s:
                raise ProgressError(
                    f"Another process has been starting for {_STARTING_S:.0f} s, and holds {path}; "
                    "see what it does, and stop it."
                ) from None
        time.sleep(random.uniform(0.005, 0.02))
