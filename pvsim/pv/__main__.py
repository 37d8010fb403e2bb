"""`python -m pvsim.pv`."""

from __future__ import annotations

from pvsim.pv import main

if __name__ == "__main__":
    raise SystemExit(main())
