"""pvsim-pv with a watch: after each commit, how many rows are durable, and how old their readings were.

PVSIM_BENCH names a file. Its first 24 bytes are rewritten after each commit: rows, meters that have one of an instant
after the start of this process, and the time in ns since the epoch. At the end JSON follows: for each second, how many
of its readings had their rows durable how many µs later.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import date
from struct import Struct
from typing import Any

from pvsim import config, pv, runtime
from pvsim.dayfile import DayFiles
from pvsim.errors import DayFileError

STATE = Struct("<3Q")
BEGAN_NS = time.time_ns()


class TimedFiles(DayFiles):
    """Day files that write down when their rows are durable."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._fd = os.open(os.environ["PVSIM_BENCH"], os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        self._rows = 0
        self._meters: set[str] = set()
        self._pending: list[Sequence[int]] = []
        self._ages_us: defaultdict[int, Counter[int]] = defaultdict(Counter)

    def write_day(self, meter_id: str, day: date, times_ns: Sequence[int], rows: Sequence[str]) -> int:
        """As it is, and remember."""
        count = super().write_day(meter_id, day, times_ns, rows)
        self._rows += count
        if times_ns[-1] > BEGAN_NS:
            self._meters.add(meter_id)
        if count == len(rows) < 100:  # history is old, and what comes again was durable before
            self._pending.append(times_ns)
        return count

    def commit(self) -> dict[str, DayFileError]:
        """As it is, and write down."""
        failed = super().commit()
        now_ns = time.time_ns()
        os.pwrite(self._fd, STATE.pack(self._rows, len(self._meters), now_ns), 0)
        for times_ns in self._pending:
            for time_ns in times_ns:
                self._ages_us[time_ns // 10**9][(now_ns - time_ns) // 1000] += 1
        self._pending.clear()
        return failed

    def close(self) -> None:
        """As it is; the last time counts."""
        super().close()
        os.pwrite(self._fd, json.dumps(self._ages_us).encode(), STATE.size)


def serve(options: pv.Options, host: runtime.Host) -> None:
    """As it is, with these files."""

    def make_files(options: pv.Options, host: runtime.Host) -> DayFiles:
        return TimedFiles(options.output_dir, config.zone(options.timezone), host.files)

    pv.serve(options, host, make_files)


if __name__ == "__main__":
    raise SystemExit(pv.main(serve=serve))
