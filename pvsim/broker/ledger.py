"""What the broker has been asked and has not answered yet, on all channels; with the time as an argument."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

SILENT_S = 10.0  # what has no answer for so long is named


class Kind(StrEnum):
    """What was asked for."""

    LOOK = "whether it exists"
    DECLARE = "to declare it"
    PUBLISH = "to take a message"
    CONSUME = "to deliver its messages"


class Entry:
    """One request. `on_late` is called once, if there is no answer in time."""

    __slots__ = ("is_late", "kind", "on_late", "queue", "since_s")

    def __init__(self, kind: Kind, queue: str, since_s: float, on_late: Callable[[], None] | None) -> None:
        self.kind = kind
        self.queue = queue
        self.since_s = since_s
        self.on_late = on_late
        self.is_late = False


class Ledger:
    """The requests without an answer, oldest first. While the broker blocks us, no patience runs."""

    def __init__(self) -> None:
        self._open: dict[Entry, None] = {}
        self._answered_s = 0.0
        self._is_held = False

    def open(self, kind: Kind, queue: str, now_s: float, on_late: Callable[[], None] | None = None) -> Entry:
        """Something is asked."""
        if not self._open:
            self._answered_s = now_s
        entry = Entry(kind, queue, now_s, on_late)
        self._open[entry] = None
        return entry

    def close(self, entry: Entry, now_s: float) -> None:
        """It is answered, or nobody waits for the answer any more."""
        if entry in self._open:
            del self._open[entry]
            self._answered_s = now_s

    def clear(self) -> None:
        """The connection is lost."""
        self._open.clear()
        self._is_held = False

    def hold(self) -> None:
        """The broker takes nothing now."""
        self._is_held = True

    def release(self, now_s: float) -> None:
        """It takes messages again: from now on there is time to answer."""
        self._is_held = False
        self._answered_s = now_s
        for entry in self._open:
            entry.since_s = now_s

    def check(self, now_s: float) -> None:
        """Tell those who wait that they have waited for too long."""
        for entry in self.late(now_s):
            if not entry.is_late:
                entry.is_late = True
                if entry.on_late:
                    entry.on_late()

    def late(self, now_s: float, *kinds: Kind) -> list[Entry]:
        """What has no answer in time, of these kinds or of all."""
        found: list[Entry] = []
        if self._is_held:
            return found
        for entry in self._open:
            if now_s - entry.since_s <= SILENT_S:
                break
            if not kinds or entry.kind in kinds:
                found.append(entry)
        return found

    def silent_s(self, now_s: float) -> float:
        """For how long nothing at all was answered, though something was asked."""
        return now_s - self._answered_s if self._open and not self._is_held else 0.0

    def trouble(self, now_s: float) -> str:
        """The first of what is late, for people; or nothing."""
        late = self.late(now_s)
        if not late:
            return ""
        more = f", and {len(late) - 1} more" if len(late) > 1 else ""
        return (
            f"no answer for {now_s - late[0].since_s:.0f} s from the queue {late[0].queue}, asked {late[0].kind}{more}"
        )
