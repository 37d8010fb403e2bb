"""The tracks of a fleet: found on disk or begun, and what each meter's readings come from."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from pvsim.disk import sentence
from pvsim.errors import ProgressError
from pvsim.meter.progress import Track, made_with
from pvsim.meter.progressfiles import ProgressFile
from pvsim.meter.timeline import Timeline
from pvsim.models import load

if TYPE_CHECKING:
    from pvsim.config import MeterSettings
    from pvsim.models import PowerModel

log = logging.getLogger("pvsim.meter")


class Tracks:
    """The progress of the meters of one process, by meter id; on disk, too, if it has a file."""

    def __init__(self, file: ProgressFile | None, timeline: Timeline, now_ns: int) -> None:
        self.trouble = ""  # why they cannot be saved, a sentence
        self._file = file
        self._timeline = timeline
        self._now_ns = now_ns
        self._found = file.tracks if file else {}
        self._tracks: dict[str, Track] = {}
        self._made_with: dict[object, str] = {}
        self._changes: dict[str, list[str]] = {}

    def start(self, meter_id: str, settings: MeterSettings) -> Track:
        """Go on with the track of this meter, or begin one; ProgressError if this history cannot go on like that."""
        track = self._found.get(meter_id)
        if track is None:
            start_ns = self._timeline.start_ns
            track = Track(self._now_ns if start_ns is None else start_ns - 1, self._fingerprint(settings))
        else:
            self._remake(meter_id, track, self._fingerprint(settings))
            track.start(self._now_ns, self._timeline.has_stops)
        self._tracks[meter_id] = track
        return track

    def log_changes(self) -> None:
        """Say whose readings come from something else than before."""
        for change, (first, *others) in self._changes.items():
            more = f" and {len(others)} more" if others else ""
            log.warning("%s%s: %s Nothing from before the change is sent again.", first, more, change)

    def save(self) -> None:
        """Keep them on disk; that a disk is full is told, and tried again at the next call."""
        if not self._file:
            return
        try:
            self._file.save(self._tracks)
        except OSError as error:
            self._note(sentence("save the progress in", self._file.path, error))
        else:
            self._note("")

    def _note(self, trouble: str) -> None:
        if trouble and trouble != self.trouble:
            log.error("%s Trying again.", trouble)
        elif self.trouble and not trouble:
            log.info("Saves the progress again.")
        self.trouble = trouble

    def _fingerprint(self, settings: MeterSettings) -> str:
        """What the readings of a meter come from; worked out once for all meters that share their settings."""
        shared = [*settings.parameters.items(), *settings.faults.items()]
        key = (settings.model, settings.seed, settings.interval_ns, *((name, id(value)) for name, value in shared))
        if key not in self._made_with:
            self._made_with[key] = made_with(settings, power_of("Meter_0", settings))
        return self._made_with[key]

    def _remake(self, meter_id: str, track: Track, now_with: str) -> None:
        before, was_stopped = track.made_with, track.stopped_ns is not None
        if not track.remake(now_with, self._now_ns):
            return
        change = f"its settings have changed ({now_with}; before: {before})."
        if self._timeline.is_history:
            raise ProgressError(
                f"The history of {meter_id} cannot go on: {change} Set them as they were, "
                "or give another --state-dir to begin it anew."
            )
        if not was_stopped:
            change += " It was not told to stop, so nobody knows what it had sent: it begins now."
        self._changes.setdefault(change, []).append(meter_id)


def power_of(meter_id: str, settings: MeterSettings) -> PowerModel:
    """The power of a meter with these settings, without its faults."""
    return load.model(settings.model, settings.seed, meter_id, **settings.parameters)
