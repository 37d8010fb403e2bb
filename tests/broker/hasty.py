"""pvsim-meter that removes the mark of a queue half a minute after it was found, not a whole one."""

from __future__ import annotations

from pvsim import meter
from pvsim.broker import marks

if __name__ == "__main__":
    setattr(marks, "_STAYS_S", 25.0)  # noqa: B010
    raise SystemExit(meter.main())
