"""`python -m pvsim.meter`."""

from __future__ import annotations

from pvsim.meter import main

if __name__ == "__main__":
    raise SystemExit(main())
