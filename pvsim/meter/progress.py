"""How far the broker has confirmed each meter, what with, and so what the meter has to send next.

A `Track` is some instants and gaps per meter. Whatever happens (a lost connection, a lost queue, a crash, a stop), it
answers one question, which readings come next, because readings can be computed again: with the settings of today. So
a track knows what its readings were made with, and after a change none from before it is sent again.

All of it is pure; `progressfiles.py` keeps tracks on disk.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Mapping
from copy import copy
from dataclasses import fields, is_dataclass
from datetime import date
from decimal import Decimal
from hashlib import blake2b
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, NamedTuple

from pvsim.texts import fixed_text

if TYPE_CHECKING:
    from pvsim.config import MeterSettings
    from pvsim.models import PowerModel

RESTART_NS = 90 * 10**9  # started again within this time, a meter counts as never stopped
INSTANT_NS = 2 * 10**9  # no broker is killed and back again in less
MAX_GAPS = 32
SETTLED_S = 5  # after which a broker that is killed has not forgotten what it confirmed; only a young queue can vanish


class Track:
    """The progress of one meter; instants are ns since the epoch.

    confirmed_ns: every reading up to this instant is confirmed by the broker (or was never to be made);
    settled_ns: confirmed for SETTLED_S, so that a broker that is killed does not forget it any more;
    marks_ns: how far it was confirmed in each of the last seconds;
    declared_ns: where the meter was when its queue was declared, and so the oldest that the queue can hold;
    sent_ns: the last instant that may have been sent, confirmed or not;
    made_with: what its readings come from, None if nobody knows;
    floor_ns: up to this instant they came from something else, and none is sent again;
    gaps: (stopped, started] when the meter was told to stop; stopped_ns: when it was told to, if it still is.
    """

    __slots__ = (
        "confirmed_ns", "declared_ns", "floor_ns", "gaps", "made_with", "marks_ns", "sent_ns", "settled_ns",
        "stopped_ns",
    )  # fmt: skip

    def __init__(self, now_ns: int, made_with: str | None = None) -> None:
        self.confirmed_ns = self.settled_ns = self.declared_ns = self.sent_ns = now_ns
        self.marks_ns = [now_ns] * SETTLED_S
        self.floor_ns = 0
        self.made_with = made_with
        self.gaps: list[tuple[int, int]] = []
        self.stopped_ns: int | None = None

    @property
    def reach_ns(self) -> int:
        """No reading up to this instant becomes due any more: they are confirmed, or not to be made."""
        return max([self.confirmed_ns, *(started for _, started in self.gaps[-1:])])

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

    def sending(self, instant_ns: int) -> None:
        """Readings up to `instant_ns` are on their way."""
        self.sent_ns = max(self.sent_ns, instant_ns)

    def confirm(self, instant_ns: int) -> None:
        """The broker has confirmed every reading up to `instant_ns`."""
        self.confirmed_ns = instant_ns

    def settle(self) -> None:
        """To be called every second: what was confirmed SETTLED_S calls ago, and still is, is settled."""
        self.settled_ns, *self.marks_ns = *self.marks_ns, self.confirmed_ns

    def go_back(self) -> None:
        """The broker may have been killed, and may have forgotten what is not settled."""
        self._rewind(self.settled_ns)

    def queue_lost(self) -> None:
        """The queue is gone, and all that it held with it."""
        self._rewind(self.declared_ns)

    def without_queue(self) -> Track:
        """What this one would be if the queue were gone."""
        track = copy(self)
        track.queue_lost()
        return track

    def skip_to(self, instant_ns: int) -> None:
        """Readings up to `instant_ns` are not wanted."""
        self.confirmed_ns = max(self.confirmed_ns, instant_ns)

    def remake(self, made_with: str, now_ns: int) -> bool:
        """From now on its readings are made with this; to be called before `start`. Returns whether that is a change.

        What may have been sent before is not sent again: it would be another reading of the same instant. After a stop
        it is known what that was, after a crash it may be all up to now. A track of which nobody knows what it was made
        with goes on behind what is confirmed: neither a gap nor another reading of what a file holds already.
        """
        if made_with == self.made_with:
            return False
        is_known = self.made_with is not None
        if is_known and self.stopped_ns is None:
            self.sending(now_ns)
        self.made_with = made_with
        self.floor_ns = max(self.floor_ns, self.confirmed_ns, self.sent_ns)
        self.skip_to(self.floor_ns)
        return is_known

    def stop(self, now_ns: int) -> None:
        """The meter is told to stop: its last reading is that of `now_ns`, confirmed yet or not."""
        self.stopped_ns = now_ns

    def start(self, now_ns: int, has_stops: bool = True) -> None:
        """The meter starts again: after a stop with a gap, if it `has_stops`; after a quick restart or a crash without.

        Nobody watched the broker meanwhile, so what was not settled is sent again, but for an instant restart. After a
        crash nobody knows what was sent since progress was last saved: perhaps all up to now.
        """
        if self.stopped_ns is None:
            self.sending(now_ns)
        if self.stopped_ns is None or not 0 <= now_ns - self.stopped_ns < INSTANT_NS:
            self.go_back()
        if has_stops and self.stopped_ns is not None and now_ns - self.stopped_ns > RESTART_NS:
            self.gaps.append((self.stopped_ns, now_ns))
            self._forget_old_gaps()
        self.stopped_ns = None

    def _rewind(self, instant_ns: int) -> None:
        instant_ns = max(instant_ns, self.floor_ns)
        self.confirmed_ns = min(self.confirmed_ns, instant_ns)
        self.marks_ns = [min(mark_ns, instant_ns) for mark_ns in self.marks_ns]
        self.settled_ns = min(self.settled_ns, instant_ns)

    def _forget_old_gaps(self) -> None:
        """Keep the newest gaps; what lies before a forgotten one is never sent again, so it stays a gap."""
        while len(self.gaps) > MAX_GAPS:
            _, started = self.gaps.pop(0)
            self.declared_ns = max(self.declared_ns, started)
            self.skip_to(started)


def _after(instant_ns: int, interval_ns: int) -> int:
    return (instant_ns // interval_ns + 1) * interval_ns


# What readings come from.

_SAMPLES = [start_s + step_s for start_s in (1767204000, 1773999000, 1782036000, 1793048400) for step_s in (0, 61, 911)]
_SAMPLES_NS = [second * 10**9 for second in _SAMPLES]


def made_with(settings: MeterSettings, power: PowerModel) -> str:
    """What a meter's readings come from: its settings, and, since models change, what its model makes of some instants.

    People can read the beginning of it. `power` may be that of any meter with these settings, but always the same.
    """
    parts = (settings.model, settings.seed, settings.interval_ns, settings.parameters, settings.faults)
    digest = blake2b(repr([_plain(part) for part in parts]).encode(), digest_size=8)
    digest.update(repr(power(_SAMPLES_NS)).encode())
    return (
        f"model {settings.model}, seed {settings.seed}, interval {fixed_text(settings.interval_ns, 9)}, "
        f"all in all {digest.hexdigest()}"
    )


def _plain(value: Any) -> Any:
    """A value of the settings as one whose `repr` is the same in every process; TypeError if there is none."""
    if isinstance(value, PurePath | date):
        return str(value)
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    if value is None or isinstance(value, str | bytes | int | float):
        return value
    if isinstance(value, array):
        return blake2b(memoryview(value), digest_size=16).hexdigest()
    if is_dataclass(value):
        return [_plain(getattr(value, field.name)) for field in fields(value)]
    if isinstance(value, Mapping):
        return sorted((str(name), _plain(each)) for name, each in value.items())
    if isinstance(value, tuple | list | frozenset):
        return [_plain(each) for each in (sorted(value) if isinstance(value, frozenset) else value)]
    raise TypeError(f"{type(value).__name__} has no text that tells it from others")


# The text of a progress file.


class Saved(NamedTuple):
    """What a progress file holds. `history`: the name of the timeline, empty for the clock's; `file`: its own name.

    Those of version 1 know neither.
    """

    tracks: dict[str, Track]
    history: str | None = None
    file: str | None = None


def dump(tracks: Mapping[str, Track], history: str = "", file: str = "") -> str:
    """The text of a progress file: JSON, one line a meter."""
    lines = ",\n".join(f'"{meter_id}": {_record(track)}' for meter_id, track in tracks.items())
    head = f'"version": 2, "file": {json.dumps(file)}, "history": {json.dumps(history)}'
    return f'{{{head}, "meters": {{\n{lines}\n}}}}\n'


def _record(track: Track) -> str:
    some = {"made_with": track.made_with, "floor_ns": track.floor_ns or None, "gaps": track.gaps or None}
    record = {name: getattr(track, name) for name in ("confirmed_ns", "settled_ns", "declared_ns", "sent_ns")}
    record |= some | {"stopped_ns": track.stopped_ns}
    return json.dumps({name: value for name, value in record.items() if value is not None})


def parse(text: str) -> dict[str, Track]:
    """The tracks in the text of a progress file; ValueError or TypeError if it is none."""
    return read(text).tracks


def read(text: str) -> Saved:
    """All that the text of a progress file says, of version 1 or 2; ValueError or TypeError if it is none."""
    content = json.loads(text)
    if not isinstance(content, dict) or not isinstance(content.get("meters"), dict):
        raise ValueError("it is no JSON object with meters")
    if content.get("version") not in (1, 2):
        raise ValueError("it is neither of version 1 nor of version 2")
    tracks = {meter_id: _track(record) for meter_id, record in content["meters"].items()}
    if content["version"] == 1:
        return Saved(tracks)
    return Saved(tracks, _text(content, "history"), _text(content, "file"))


def _track(record: Any) -> Track:
    if not isinstance(record, dict):
        raise ValueError("a meter's record is no JSON object")
    track = Track(_instant(record, "confirmed_ns"))
    track.settled_ns = min(track.confirmed_ns, _instant(record, "settled_ns"))
    track.marks_ns = [track.settled_ns] * SETTLED_S
    track.declared_ns = min(track.settled_ns, _instant(record, "declared_ns"))
    track.gaps = [_gap(gap) for gap in record.get("gaps", [])]
    for name, read in (("sent_ns", _instant), ("made_with", _text), ("floor_ns", _instant), ("stopped_ns", _instant)):
        if name in record:
            setattr(track, name, read(record, name))
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


def _text(record: dict[str, Any], key: str) -> str:
    value = record.get(key)
    if not isinstance(value, str):
        raise ValueError(f"{key} is no text")
    return value
