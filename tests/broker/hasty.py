"""pvsim-meter that removes the mark of a queue some seconds after it was found, not a minute."""

from __future__ import annotations

from pvsim import meter
from pvsim.broker import marks

if __name__ == "__main__":
    setattr(marks, "_STAYS_S", 10.0)  # noqa: B010
    raise SystemExit(meter.main())
