"""How far the broker has confirmed each meter, and what the meter has to send next.

`Track` is the pure part: four instants and some gaps per meter. Whatever happens (a lost connection, a lost
queue, a crash, a stop), it answers one question, which readings come next, because readings can be computed
again. `ProgressFile` keeps the tracks of one process in a small file that is replaced as a whole.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pvsim import disk
from pvsim.errors import ProgressError

RESTART_NS = 90 * 10**9  # started again within this time, a meter counts as never stopped
INSTANT_NS = 2 * 10**9  # no broker is killed and back again in less
MAX_GAPS = 32


class Track:
    """The progress of one meter; instants are ns since the epoch.

    confirmed_ns: every reading up to this instant is confirmed by the broker (or was never to be made);
    settled_ns: so long confirmed that a broker that is killed does not forget it any more;
    declared_ns: where the meter was when its queue was declared, and so the oldest that the queue can hold;
    gaps: (stopped, started] when the meter was told to stop; stopped_ns: when it was told to, if it still is.
    """

    __slots__ = ("confirmed_ns", "declared_ns", "gaps", "mark_ns", "settled_ns", "stopped_ns")

    def __init__(self, now_ns: int) -> None:
        self.confirmed_ns = self.mark_ns = self.settled_ns = self.declared_ns = now_ns
        self.gaps: list[tuple[int, int]] = []
        self.stopped_ns: int | None = None

    def next_ns(self, interval_ns: int) -> int:
        """The first instant whose reading is not confirmed."""
        first = _after(self.confirmed_ns, interval_ns)
        for stopped, started in self.gaps:
            if stopped < first <= started:
                first = _after(started, interval_ns)
        return first

    def upcoming(self, until_ns: int, interval_ns: int, most: int) -> range:
        """The next instants to send, up to and including `until_ns`, at most `most`, before the next gap."""
        first = self.next_ns(interval_ns)
        end = min([until_ns, *(stopped for stopped, _ in self.gaps if stopped >= first)])
        return range(first, min(end, first + (most - 1) * interval_ns) + 1, interval_ns)

    def confirm(self, instant_ns: int) -> None:
        """The broker has confirmed every reading up to `instant_ns`."""
        self.confirmed_ns = instant_ns

    def settle(self) -> None:
        """To be called every 30 s: what was confirmed at the last call, and still is, is settled."""
        self.settled_ns, self.mark_ns = self.mark_ns, self.confirmed_ns

    def go_back(self) -> None:
        """The broker may have been killed, and may have forgotten what is not settled."""
        self._rewind(self.settled_ns)

    def queue_lost(self) -> None:
        """The queue is gone, and all that it held with it."""
        self._rewind(self.declared_ns)

    def is_young(self) -> bool:
        """Whether nothing was settled since the queue was declared: all that it can hold would be sent again."""
        return self.settled_ns <= self.declared_ns

    def skip_to(self, instant_ns: int) -> None:
        """Readings up to `instant_ns` are not wanted."""
        self.confirmed_ns = max(self.confirmed_ns, instant_ns)

    def stop(self, now_ns: int) -> None:
        """The meter is told to stop: its last reading is that of `now_ns`, confirmed yet or not."""
        self.stopped_ns = now_ns

    def start(self, now_ns: int, has_stops: bool = True) -> None:
        """The meter starts again: after a stop with a gap, if it `has_stops`; after a quick restart or a crash without.

        Nobody watched the broker meanwhile, so what was not settled is sent again, but for an instant restart.
        """
        if self.stopped_ns is None or not 0 <= now_ns - self.stopped_ns < INSTANT_NS:
            self.go_back()
        if has_stops and self.stopped_ns is not None and now_ns - self.stopped_ns > RESTART_NS:
            self.gaps.append((self.stopped_ns, now_ns))
            self._forget_old_gaps()
        self.stopped_ns = None

    def _rewind(self, instant_ns: int) -> None:
        self.confirmed_ns = min(self.confirmed_ns, instant_ns)
        self.mark_ns = min(self.mark_ns, instant_ns)
        self.settled_ns = min(self.settled_ns, instant_ns)

    def _forget_old_gaps(self) -> None:
        """Keep the newest gaps; what lies before a forgotten one is never sent again, so it stays a gap."""
        while len(self.gaps) > MAX_GAPS:
            _, started = self.gaps.pop(0)
            self.declared_ns = max(self.declared_ns, started)
            self.skip_to(started)


def _after(instant_ns: int, interval_ns: int) -> int:
    return (instant_ns // interval_ns + 1) * interval_ns


def dump(tracks: Mapping[str, Track]) -> str:
    """The text of a progress file: JSON, one line a meter."""
    lines = ",\n".join(f'"{meter_id}": {_record(track)}' for meter_id, track in tracks.items())
    return f'{{"version": 1, "meters": {{\n{lines}\n}}}}\n'


def _record(track: Track) -> str:
    gaps = f', "gaps": {json.dumps(track.gaps)}' if track.gaps else ""
    stopped = "" if track.stopped_ns is None else f', "stopped_ns": {track.stopped_ns}'
    return (
        f'{{"confirmed_ns": {track.confirmed_ns}, "settled_ns": {track.settled_ns}, '
        f'"declared_ns": {track.declared_ns}{gaps}{stopped}}}'
    )


def parse(text: str) -> dict[str, Track]:
    """The tracks in the text of a progress file; ValueError if it is none."""
    content = json.loads(text)
    if not isinstance(content, dict) or content.get("version") != 1 or not isinstance(content.get("meters"), dict):
        raise ValueError("it is not in the format of version 1")
    return {meter_id: _track(record) for meter_id, record in content["meters"].items()}


def _track(record: Any) -> Track:
    if not isinstance(record, dict):
        raise ValueError("a meter's record is no JSON object")
    track = Track(_instant(record, "confirmed_ns"))
    track.mark_ns = track.settled_ns = min(track.confirmed_ns, _instant(record, "settled_ns"))
    track.declared_ns = min(track.settled_ns, _instant(record, "declared_ns"))
    track.gaps = [_gap(gap) for gap in record.get("gaps", [])]
    if "stopped_ns" in record:
        track.stopped_ns = _instant(record, "stopped_ns")
    return track


def _gap(value: Any) -> tuple[int, int]:
    stopped, started = value
    if type(stopped) is not int or type(started) is not int:
        raise ValueError("a gap is not two whole numbers")
    return stopped, started


def _instant(record: dict[str, Any], key: str) -> int:
    value = record.get(key)
    if type(value) is not int:
        raise ValueError(f"{key} is no whole number")
    return value


class ProgressFile:
    """The tracks of one process on disk: replaced as a whole, so whole at any moment; held by one process."""

    def __init__(self, path: Path) -> None:
        """ProgressError if another process holds it, or the directory cannot be written."""
        self.path = path
        try:
            self._lock = disk.open_alone(path.with_suffix(".lock"), 0o600)
        except disk.Held:
            raise ProgressError(
                f"Another process publishes these meters and keeps its progress in {path}; "
                "stop it first, or give this one another --state-dir."
            ) from None
        except OSError as error:
            raise ProgressError(
                f"Cannot keep the progress in {path.parent}: {error.strerror}; "
                "give a --state-dir that exists and can be written."
            ) from None

    def load(self) -> dict[str, Track]:
        """The tracks as last saved, none if there is no file yet; ProgressError if it cannot be read."""
        try:
            return parse(self.path.read_text())
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise ProgressError(f"Cannot read {self.path}: {error.strerror}.") from None
        except (ValueError, TypeError, RecursionError) as error:
            raise ProgressError(
                f"{self.path} is damaged ({error}); move it away, and its meters begin anew from now."
            ) from None

    def save(self, tracks: Mapping[str, Track]) -> None:
        """Replace the file, durably; OSError (a full disk, say) leaves the old one as it was."""
        disk.replace(self.path, dump(tracks))

    def close(self) -> None:
        """Let another process have it."""
        os.close(self._lock)


def file_name(specs: Iterable[str]) -> str:
    """The name of the progress file of a process that was given these ids; without any, it is the fleet's."""
    name = "+".join(specs)
    if len(name) > 200:
        from hashlib import blake2b

        name = f"{name[:150]}-{blake2b(name.encode(), digest_size=8).hexdigest()}"
    return f"progress-{name}.json" if name else "progress.json"
